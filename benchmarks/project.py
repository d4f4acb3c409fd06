"""Read the project's parameters in a script."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from kedro.config import OmegaConfigLoader

from dg_project.settings import CONFIG_LOADER_ARGS

ROOT = Path(__file__).parents[1]


def run_parameters(env: str | None = None, **changes: Any) -> dict[str, Any]:
    """Return the parameters of ``kedro run --env=<env> --params`` with these changes."""
    reading: dict[str, Any] = {"conf_source": str(ROOT / "conf"), **CONFIG_LOADER_ARGS, "runtime_params": changes}
    if env is not None:
        reading["env"] = env
    return dict(OmegaConfigLoader(**reading)["parameters"])
