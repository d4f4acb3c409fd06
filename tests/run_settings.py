"""The smoke parameters, with changes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from kedro.config import OmegaConfigLoader

from dg_project.config import Settings
from dg_project.settings import CONFIG_LOADER_ARGS

CONF = Path(__file__).parents[1] / "conf"


def settings(**changes: Any) -> Settings:
    """The smoke parameters with ``group__key=value`` changes."""
    raw = dict(OmegaConfigLoader(conf_source=str(CONF), env="smoke", **CONFIG_LOADER_ARGS)["parameters"])
    for path, value in changes.items():
        *groups, key = path.split("__")
        node = raw
        for group in groups:
            node = node.setdefault(group, {})
        node[key] = value
    return Settings.model_validate(raw)
