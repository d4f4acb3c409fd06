"""Make the relative paths of the parameters start at the project folder, wherever ``kedro`` is called from.

Parameters that are paths say so by their type: ``ProjectPath`` and ``Checkpoint`` in ``config.base``.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from dg_project.config.base import CHECKPOINT, PATH, WEIGHTS, Params
from dg_project.config.generation import LDMParams
from dg_project.config.grids import GridParams
from dg_project.config.settings import Settings

ROOT_VARIABLE = "DG_PROJECT_ROOT"
"""Environment variable with the project folder; it also reaches worker processes."""
ENVIRONMENT_VARIABLE, OWN_ENVIRONMENT = "DG_PROJECT_ENVIRONMENT", "local"
"""Environment variable with the name after ``--env``, and the name without ``--env``."""
_P = TypeVar("_P", bound=Params)


def locate(path: str) -> Path:
    """Return ``path`` below the project folder, or unchanged if it is absolute."""
    return Path(os.environ.get(ROOT_VARIABLE, ".")) / Path(path).expanduser()


def locate_checkpoint(name: str) -> str:
    """Return the folder of a checkpoint as an absolute path, or ``name`` itself if it can be a hub name.

    A hub name is ``owner/model`` where the project has no folder ``owner``; ``library:model`` is not a path.
    """
    owner, *rest = name.split("/")
    if len(owner.partition(":")[0]) > 1 and ":" in owner:
        return name
    looks_like_hub = len(rest) == 1 and not name.startswith((".", "~")) and owner != "" and not locate(owner).exists()
    return name if looks_like_hub else str(locate(name))


def locate_ldm(ldm: LDMParams) -> LDMParams:
    """Return the parameters with the checkpoints of the model, its ControlNet and its LoRAs located."""
    return _located(ldm)


def locate_settings(settings: Settings) -> Settings:
    """Return the parameters with every path located, those of methods and of the rows of grids included."""
    groups = {**dict(settings), **(settings.model_extra or {})}
    found: dict[str, Any] = {name: _located(value) for name, value in groups.items() if isinstance(value, Params)}
    schemas = {name: type(value) for name, value in found.items()}
    grids = {name: _locate_rows(value, schemas) for name, value in found.items() if isinstance(value, GridParams)}
    return settings.model_copy(update={**found, **grids, "workspace": str(locate(settings.workspace))})


def _locate_rows(grid: GridParams, schemas: Mapping[str, type[Params]]) -> GridParams:
    rows = {}
    for name, row in grid.rows.items():
        changes = {group: {key: _located_value(schemas[group], key, value) for key, value in own.items()}
                   if group in schemas else own for group, own in row.params.items()}
        rows[name] = row.model_copy(update={"params": changes})
    return grid.model_copy(update={"rows": rows})


def _located(params: _P) -> _P:
    """Locate the paths of a group of parameters and of the groups inside it."""
    changes: dict[str, Any] = {}
    for name, value in params:
        if isinstance(value, Params):
            changes[name] = _located(value)
        elif isinstance(value, list):
            changes[name] = [_located(one) if isinstance(one, Params) else one for one in value]
        elif isinstance(value, dict):
            changes[name] = {key: _located(one) if isinstance(one, Params) else one for key, one in value.items()}
        else:
            changes[name] = _located_value(type(params), name, value)
    return params.model_copy(update=changes)


def _located_value(schema: type[Params], name: str, value: Any) -> Any:
    if not isinstance(value, str) or name not in schema.model_fields:
        return value
    marks = schema.model_fields[name].metadata
    if CHECKPOINT in marks:
        return locate_checkpoint(value)
    is_path = PATH in marks or (WEIGHTS in marks and value not in ("package", "hub"))
    return str(locate(value)) if is_path else value
