"""Where the relative paths of the parameters start: at the project, wherever ``kedro`` was called from."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from dg_project.parameters import CHECKPOINT, LDMParams, Parameters

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


def read_parameters(parameters: dict[str, Any]) -> Parameters:
    """Return all parameters typed; paths of backbones, diffusion models and teachers start at the project too."""
    settings = Parameters.model_validate(_located_methods(parameters))
    settings = settings.model_copy(update={"ldm": locate_ldm(settings.ldm)})
    weights = settings.backbone.weights
    if weights in (None, "package", "hub"):
        return settings
    backbone = settings.backbone.model_copy(update={"weights": str(locate(str(weights)))})
    return settings.model_copy(update={"backbone": backbone})


def _located_methods(parameters: dict[str, Any]) -> dict[str, Any]:
    """Return the parameters with every ``Checkpoint`` of a method's own parameters located."""
    from dg_project.methods import method_classes

    located = dict(parameters)
    for name, kind in method_classes().items():
        own = kind.Params.model_validate(parameters.get(name, {}))
        paths = {key: locate_checkpoint(getattr(own, key)) for key, field in kind.Params.model_fields.items()
                 if CHECKPOINT in field.metadata}
        if paths:
            located[name] = own.model_dump(mode="json") | paths
    return located
