"""Save and load a trained method as a folder: weights, and the specification to rebuild it."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

import torch
from pydantic import ConfigDict, Field, ValidationError, field_validator
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from dg_project.config import TASK_PARAMS, BackboneParams, LDMParams, Params, Settings, Task, problems_of
from dg_project.core.device import resolve_device
from dg_project.core.errors import CheckpointError, ParameterError
from dg_project.core.files import atomic_file
from dg_project.core.model_versions import CARD, WEIGHTS
from dg_project.methods import method_class
from dg_project.methods.base import Method, check_task
from dg_project.tasks import build_task

if TYPE_CHECKING:
    from dg_project.diffusion.generator import Generator



class ModelSpec(Params):
    """Specification of a method; together with the weights it defines a trained model."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    method: str
    method_params: dict[str, Any] = Field(default_factory=dict, description="parameters under the method's name")
    task: Task = "detection"
    backbone: BackboneParams
    head: dict[str, Any] = Field(description="parameters under the task's name")
    classes: list[str] = Field(min_length=1)
    domains: list[str] = Field(min_length=1, description="by domain_id: the source, then the pseudo domains")

    @field_validator("method", mode="before")
    @classmethod
    def _former_name(cls, name: Any) -> Any:
        """Models were saved as ``<method>_pseudo`` when the batches were part of a method's name."""
        return name.removesuffix("_pseudo") if isinstance(name, str) else name

    @classmethod
    def of(cls, kind: type[Method], settings: Settings, domains: list[str]) -> Self:
        """Build the spec of a run; ``domains`` are the sources, the pseudo domains, and ``adapt`` for UDA methods."""
        return cls(method=kind.name, method_params=kind.params_of(settings).model_dump(mode="json"),
                   task=settings.task, backbone=settings.backbone, head=settings.head.model_dump(mode="json"),
                   classes=settings.classes, domains=domains)

    def without_weights(self) -> Self:
        """Return a copy without pretrained weights of the backbone."""
        return self.model_copy(update={"backbone": self.backbone.model_copy(update={"weights": None})})


def build_method(spec: ModelSpec, seed: int = 0) -> Method:
    """Build an untrained method; the seed determines its initial weights.

    Raises:
        ParameterError: the method or task does not exist, the method does not support the task, or the parameters do
            not fit together.
        CheckpointError: the backbone's weights cannot be loaded.
    """
    method = method_class(spec.method)
    check_task(method, spec.task)
    try:
        head = TASK_PARAMS[spec.task].model_validate(spec.head)
        params = method.Params.model_validate(spec.method_params)
    except ValidationError as error:
        raise ParameterError(f"the parameters of the method '{spec.method}' or of its task '{spec.task}' are wrong: "
                             + "; ".join(problems_of(error))) from error
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return method(build_task(spec.task, spec.backbone, head, spec.classes), params, spec.domains)


def save_model(method: Method, spec: ModelSpec, folder: Path, meta: Mapping[str, Any] | None = None) -> None:
    """Write ``model.safetensors`` (inference state) and ``model.json`` (spec and ``meta``: step, score ...)."""
    save_weights(method.inference_state(), folder / WEIGHTS)
    with atomic_file(folder / CARD) as aside:
        aside.write_text(json.dumps({"spec": spec.model_dump(mode="json"), "meta": dict(meta or {})}, indent=2) + "\n")


def read_card(folder: Path) -> tuple[ModelSpec, dict[str, Any]]:
    """Return the spec and the metadata of a model folder.

    Raises:
        CheckpointError: the folder has no model, or one that this version cannot read.
    """
    try:
        card = json.loads((folder / CARD).read_text())
        return ModelSpec.model_validate(card["spec"]), card["meta"]
    except FileNotFoundError as error:
        raise CheckpointError(f"'{folder}' holds no '{CARD}', so it is not a trained model; give the folder that the "
                              "training pipeline wrote") from error
    except ValidationError as error:
        raise CheckpointError(f"'{folder / CARD}' cannot be read ({'; '.join(problems_of(error))}); train the model "
                              "again") from error
    except (ValueError, KeyError, TypeError, OSError, RecursionError) as error:
        raise CheckpointError(f"'{folder / CARD}' cannot be read ({error}); train the model again") from error


def count_weights(folder: Path) -> int:
    """Return the number of weights in a model folder, read from the file header.

    Raises:
        CheckpointError: the file is missing or broken.
    """
    try:
        with safe_open(folder / WEIGHTS, framework="pt") as file:
            return sum(math.prod(file.get_slice(name).get_shape()) for name in file.keys())  # noqa: SIM118
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"'{folder / WEIGHTS}' cannot be read ({error}); train the model again") from error


def load_model(folder: Path, device: torch.device | str = "cpu") -> Method:
    """Build the method of a model folder with its weights, in evaluation mode on ``device``.

    Raises:
        CheckpointError: the folder has no model, or its files are broken or do not belong together.
    """
    spec, _ = read_card(folder)
    # The weights come from the folder, so the pretrained ones of the backbone are not needed.
    method = build_method(spec.without_weights())
    try:
        state = load_file(folder / WEIGHTS)
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"'{folder / WEIGHTS}' cannot be read ({error}); train the model again") from error
    method.load_inference_state(state)
    return method.to(device).to(memory_format=torch.channels_last).eval()


def save_weights(state: Mapping[str, Tensor], path: Path) -> None:
    """Write a state as safetensors, atomically."""
    with atomic_file(path) as aside:
        save_file({name: value.detach().cpu().contiguous() for name, value in state.items()}, aside)


def open_ldm(kind: type[Method], moment: Literal["training", "prediction"], ldm: LDMParams | None,
             device: str) -> Generator | None:
    """Return the opened diffusion model for a method that needs it at this moment, else None."""
    if ldm is None or kind.needs.ldm != moment:
        return None
    from dg_project.diffusion.generator import Generator

    return Generator.from_params(ldm, resolve_device(device))


def attach_ldm(ldm: Generator | None, method: Method) -> None:
    """Attach an opened diffusion model to the method; None does nothing."""
    if ldm is not None:
        method.use_ldm(ldm)
