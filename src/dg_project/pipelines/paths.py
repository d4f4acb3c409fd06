"""Where the relative paths of the parameters start: at the project, wherever ``kedro`` was called from."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dg_project.config import GridParams, LDMParams, Settings, checkpoint_fields

ROOT_VARIABLE = "DG_PROJECT_ROOT"
"""Set by the parameters hook; the environment carries it to worker processes."""


def locate(path: str) -> Path:
    """Return ``path`` below the project, or itself where it is absolute."""
    return Path(os.environ.get(ROOT_VARIABLE, ".")) / Path(path).expanduser()


def locate_checkpoint(name: str) -> str:
    """Return the folder of a checkpoint as an absolute path, or ``name`` itself where it may be a hub name.

    A hub name is ``owner/model``, and no folder of the project is called ``owner``. ``library:model`` is no path.
    """
    owner, *rest = name.split("/")
    if len(owner.partition(":")[0]) > 1 and ":" in owner:
        return name
    looks_like_hub = len(rest) == 1 and not name.startswith((".", "~")) and owner != "" and not locate(owner).exists()
    return name if looks_like_hub else str(locate(name))


def locate_ldm(ldm: LDMParams) -> LDMParams:
    """Return the parameters with every checkpoint of them located: the model's, its ControlNet's, its LoRAs'."""
    beside = ldm.controlnet.checkpoint
    controlnet = ldm.controlnet.model_copy(update={"checkpoint": beside and locate_checkpoint(beside)})
    loras = [lora.model_copy(update={"weights": locate_checkpoint(lora.weights)}) for lora in ldm.loras]
    return ldm.model_copy(update={"checkpoint": locate_checkpoint(ldm.checkpoint), "controlnet": controlnet,
                                  "loras": loras})


def read_parameters(parameters: dict[str, Any]) -> Settings:
    """Return all parameters typed; paths of backbones, diffusion models and teachers start at the project too."""
    settings = Settings.model_validate(_located({**parameters, **_methods_with_checkpoints(parameters)}))
    return settings.model_copy(update={"ldm": locate_ldm(settings.ldm)})


def locate_rows(grid: GridParams) -> GridParams:
    """Return a grid whose rows name backbones and teachers as ``read_parameters`` does."""
    rows = {name: row.model_copy(update={"params": _located(row.params)}) for name, row in grid.rows.items()}
    return grid.model_copy(update={"rows": rows})


def _methods_with_checkpoints(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Return all of the parameters, defaults too, of every method that opens a checkpoint of its own."""
    from dg_project.methods import method_classes

    return {name: kind.Params.model_validate(parameters.get(name, {})).model_dump(mode="json")
            for name, kind in method_classes().items() if checkpoint_fields(kind.Params)}


def _located(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Return parameters, or changes of some, with the backbone's weights and the methods' checkpoints located."""
    from dg_project.methods import method_classes

    located = dict(parameters)
    for name, kind in method_classes().items():
        own = parameters.get(name, {})
        paths = {key: locate_checkpoint(own[key]) for key in checkpoint_fields(kind.Params) if key in own}
        if paths:
            located[name] = {**own, **paths}
    backbone = parameters.get("backbone", {})
    if backbone.get("weights") not in (None, "package", "hub"):
        located["backbone"] = {**backbone, "weights": str(locate(backbone["weights"]))}
    return located
