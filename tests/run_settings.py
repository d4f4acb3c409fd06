"""The parameters that the project ships, and those of smoke with changes."""

from __future__ import annotations

from copy import deepcopy
from functools import cache
from pathlib import Path
from typing import Any

from kedro.config import OmegaConfigLoader

from dg_project.config import Settings
from dg_project.settings import CONFIG_LOADER_ARGS

CONF = Path(__file__).parents[1] / "conf"


@cache
def _read(env: str) -> dict[str, Any]:
    return dict(OmegaConfigLoader(conf_source=str(CONF), env=env, **CONFIG_LOADER_ARGS)["parameters"])


def parameters(env: str) -> dict[str, Any]:
    """The parameters that the project ships for an environment. The files are read once, which takes half a second."""
    return deepcopy(_read(env))


def settings(**changes: Any) -> Settings:
    """The smoke parameters with ``group__key=value`` changes."""
    raw = parameters("smoke")
    for path, value in changes.items():
        *groups, key = path.split("__")
        node = raw
        for group in groups:
            node = node.setdefault(group, {})
        node[key] = value
    return Settings.model_validate(raw)
