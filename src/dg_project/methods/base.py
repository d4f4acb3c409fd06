"""Base class of all methods: a task model, its losses on a batch, and the state that predicts."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NamedTuple, Self, get_args

import torch
from torch import Tensor, nn

from dg_project import config
from dg_project.core.errors import CheckpointError, DataError, ParameterError
from dg_project.data.batches import Batch, Batching
from dg_project.data.dataset import ManifestDataset
from dg_project.tasks.base import Prediction, TaskModel

if TYPE_CHECKING:
    from dg_project.config import Settings
    from dg_project.diffusion.generator import Generator

ANY_BATCHES: tuple[Batching, ...] = get_args(Batching)


@dataclass(frozen=True)
class Needs:
    """Images, models and gradients that a method needs.

    Attributes:
        batches: images of a step (see ``BatchStream``) unless ``training.batches`` chooses others.
        other_batches: batches that ``training.batches`` may choose instead.
        renewed: the pseudo images are a synthetic set that is renewed during training (``OnlineParams``).
        unlabelled_targets: a step also sees unlabelled target images (``Batch.adapt``): the method does UDA, not DG.
        ldm: when it uses the diffusion model in ``ldm``. Without the model it trains, or predicts, without that part.
        several_domains: it compares domains, so it needs at least two.
        inner_gradients: its losses call ``torch.autograd.grad``.
    """

    batches: Batching = "source"
    other_batches: tuple[Batching, ...] = ()
    renewed: bool = False
    unlabelled_targets: bool = False
    ldm: Literal["none", "training", "prediction"] = "none"
    several_domains: bool = False
    inner_gradients: bool = False

    @property
    def pseudo(self) -> Literal["none", "offline", "online"]:
        """Pseudo images: none, made before the training (offline), or made during it (online)."""
        if self.renewed:
            return "online"
        return "none" if self.batches == "source" else "offline"

    def on(self, batches: Batching | None) -> Self:
        """Return the needs with the batches chosen by a run; None keeps the method's own."""
        return self if batches is None else replace(self, batches=batches)


class Phase(NamedTuple):
    """One update within a step: its loss trains only the parameters of these optimisers."""

    name: str
    optimizers: tuple[str, ...]


MAIN = "main"


class Learner(nn.Module, ABC):
    """A module that turns a batch into losses.

    Attributes:
        average_from: step (0-based) from which the plain average of the weights predicts, instead of
            ``training.ema``; None uses the latter.
        phases: updates of a step, in order. Most learners have one, which trains all parameters.
    """

    average_from: int | None = None
    phases: ClassVar[tuple[Phase, ...]] = (Phase(MAIN, (MAIN,)),)

    def begin_step(self) -> None:
        """Called once before the losses of a step, in every process, with the weights of the last step."""

    def end_step(self) -> None:
        """Called once after a step, in every process, before a checkpoint is written."""

    def selectable(self, progress: float) -> bool:
        """Return whether weights may be selected by their score after this share (0 to 1) of the training."""
        return True

    def inference_state(self) -> dict[str, Tensor]:
        """Return the state that predictions depend on."""
        return dict(self.state_dict())

    @abstractmethod
    def losses(self, batch: Batch, progress: float) -> dict[str, Tensor]:
        """Return scalars: ``loss_*`` are summed and minimised, ``log_*`` are only recorded.

        ``loss_adv_*`` are adversarial and need not fall. A step with several micro-batches calls this once for each and
        weights the losses by their shares of the images.

        Args:
            batch: images of one step or micro-batch, on the learner's device.
            progress: completed share of the training, 0 to 1.
        """

    def phase_losses(self, phase: str, batch: Batch, progress: float) -> dict[str, Tensor]:
        """Return the losses of one phase; a learner with several phases overrides it. See ``losses``."""
        return self.losses(batch, progress)

    @abstractmethod
    def parameter_groups(self) -> dict[str, list[nn.Parameter]]:
        """Return the parameters to train as ``backbone`` and ``head``."""

    def optimizer_groups(self) -> dict[str, dict[str, list[nn.Parameter]]]:
        """Return the parameters of each optimiser by name; every parameter has one. See ``parameter_groups``."""
        return {MAIN: self.parameter_groups()}


class Method(Learner):
    """A way to train a task model. A new method is a file in this package with a subclass.

    Attributes:
        name: name in parameters, pipelines and results.
        needs: images, models and domains that it needs.
        Params: class of its parameters, which stand under the top-level key ``name``.
        tasks: supported tasks.
        training_only: names of submodules used only in training; they are not stored with the model.

    Args:
        model: backbone and head.
        params: an instance of ``Params``.
        domains: domain names by ``domain_id``: the source (or the sources), then the pseudo domains, then ``adapt``
            for UDA methods.
    """

    name: ClassVar[str]
    needs: ClassVar[Needs]
    Params: ClassVar[type[config.Params]]
    tasks: ClassVar[tuple[config.Task, ...]] = get_args(config.Task)
    training_only: ClassVar[tuple[str, ...]] = ()

    def __init__(self, model: TaskModel, params: config.Params, domains: Sequence[str]) -> None:
        super().__init__()
        if self.needs.several_domains and len(domains) < 2:
            raise ParameterError(f"the method '{self.name}' compares domains, and there is one domain ('{domains[0]}'):"
                                 f" run `kedro run --pipeline=leave_one_out --params method={self.name}`, or set "
                                 "training.batches=mixed to train on the source and its pseudo domains")
        self.model = model
        self.params = params
        self.domains = list(domains)

    @abstractmethod
    def losses(self, batch: Batch, progress: float) -> dict[str, Tensor]:
        """See ``Learner.losses``."""

    @classmethod
    def check(cls, params: Any, settings: Settings) -> None:
        """Raise errors before a run instead of during it; subclasses add checks of the files they open.

        Args:
            params: an instance of ``Params``.
            settings: all parameters of the run.

        Raises:
            ParameterError: the method does not support the task, batches, micro-batches or number format.
            CheckpointError: the diffusion model that it needs is missing or does not support the parameters.
        """
        check_task(cls, settings.task)
        check_batches(cls, settings.training)
        if cls.needs.renewed and settings.synthesis.generator != "ldm":
            raise ParameterError(f"the method '{cls.name}' paints the prompts of synthesis.domains while it trains, so "
                                 "it needs a diffusion model and domains with prompts: set synthesis.generator: ldm, "
                                 "or choose another method")
        if cls.needs.ldm != "none":
            from dg_project.diffusion.opening import check_generation

            check_generation(settings.ldm, settings.training.device, settings.synthesis.prompted)

    @classmethod
    def params_of(cls, settings: Settings) -> Any:
        """Return the method's own parameters (an instance of ``Params``) from the settings of a run."""
        return cls.Params.model_validate((settings.model_extra or {}).get(cls.name, {}))

    @classmethod
    def reference(cls, params: Any) -> str | None:
        """Return the name of a method whose model, trained on the source alone, must be there; None: none is needed."""
        return None

    def use_reference(self, trained: Method) -> None:
        """Called once before ``prepare`` with the trained model of ``reference``, in evaluation mode."""

    @classmethod
    def code_modules(cls) -> list[str]:
        """Return the names of the modules that define the method and its base classes."""
        return sorted({kind.__module__ for kind in cls.__mro__ if issubclass(kind, Method)})

    @classmethod
    def determined_by(cls, params: Any) -> list[str]:
        """Return hashes of the files that the method opens; they are part of the cache key of its training."""
        return []

    def prepare(self, images: ManifestDataset, flip: bool, workspace: Path, device: torch.device) -> None:
        """Called once before training, for work that each step would otherwise repeat.

        Args:
            images: training images of the source.
            flip: whether the loop mirrors images.
            workspace: folder of cached work.
            device: torch device.
        """

    def adapt_to(self, targets: Sequence[str]) -> None:
        """Called once before training with the target domain names (UDA)."""

    def use_ldm(self, ldm: Generator) -> None:
        """Called once with the opened diffusion model if ``needs.ldm`` is set. It is frozen and never stored.

        Raises:
            ParameterError: this checkpoint does not support the parameters.
        """

    def parameter_groups(self) -> dict[str, list[nn.Parameter]]:
        """Return the trainable parameters: those of the backbone, and all others."""
        backbone = {id(weight) for weight in self.model.backbone.parameters()}
        trainable = [weight for weight in self.parameters() if weight.requires_grad]
        return {"backbone": [weight for weight in trainable if id(weight) in backbone],
                "head": [weight for weight in trainable if id(weight) not in backbone]}

    def predict(self, images: Sequence[Tensor]) -> list[Prediction]:
        """Predict images (3, h, w) in [0, 1] of any size."""
        return self.model.predict(images)

    def predictor(self) -> nn.ModuleDict:
        """Return the submodules that predictions depend on, including ``model``, by name in one module."""
        return nn.ModuleDict({name: child for name, child in self.named_children() if name not in self.training_only})

    def unlabelled(self, batch: Batch) -> Batch:
        """Return the unlabelled target images of a batch.

        Raises:
            DataError: the batch has none.
        """
        if batch.adapt is None:
            raise DataError(f"the method '{self.name}' adapts to unlabelled target images, but its batches have none; "
                            "pass adapt to BatchStream")
        return batch.adapt

    def inference_state(self) -> dict[str, Tensor]:
        """Return the state that predictions depend on: all except the ``training_only`` submodules."""
        return {name: value for name, value in self.state_dict().items()
                if name.split(".", 1)[0] not in self.training_only}

    def load_inference_state(self, state: Mapping[str, Tensor]) -> None:
        """Load what ``inference_state`` returned.

        Raises:
            CheckpointError: the state belongs to another method, task or backbone.
        """
        expected = self.inference_state()
        wrong = [name for name in {*expected, *state}
                 if name not in state or name not in expected or state[name].shape != expected[name].shape]
        if wrong:
            raise CheckpointError(f"the weights do not fit the method '{self.name}' as its parameters describe it "
                                  f"({len(wrong)} entries differ, such as '{min(wrong)}'); the files of the model "
                                  "folder do not belong together, or are of another version: train the model again")
        self.load_state_dict(dict(state), strict=False)


def check_task(kind: type[Method], task: config.Task) -> None:
    """Raise ``ParameterError`` if a method does not support a task."""
    if task not in kind.tasks:
        raise ParameterError(f"the method '{kind.name}' is made for {' and '.join(kind.tasks)}, not for {task}: set "
                             f"task={kind.tasks[0]}, or choose another method")


def check_batches(kind: type[Method], params: config.TrainingParams) -> None:
    """Raise ``ParameterError`` for batches, micro-batches, number formats or processes that a method cannot use."""
    needs, chosen = kind.needs.on(params.batches), params.batches
    if chosen not in (None, kind.needs.batches, *kind.needs.other_batches):
        can = ", ".join(dict.fromkeys([kind.needs.batches, *kind.needs.other_batches]))
        raise ParameterError(f"training.batches: the method '{kind.name}' cannot train on '{chosen}' batches, only on "
                             f"{can}")
    if needs.inner_gradients and params.precision == "float16":
        raise ParameterError(f"training.precision: float16 loses the small gradients that '{kind.name}' takes within a "
                             "step, because they are not scaled; use bfloat16")
    if needs.ldm == "training" and params.processes > 1:
        raise ParameterError(f"the method '{kind.name}' uses the diffusion model while it trains, which works in one "
                             "process only: set training.processes: 1")
    sources = params.images_per_step // 2
    if needs.batches in ("halves", "apart") and params.accumulate > sources:
        raise ParameterError(f"training.accumulate: {params.accumulate} micro-batches need a source image each, and "
                             f"half of training.images_per_step {params.images_per_step} are source images; set it to "
                             f"{sources} or less, or raise images_per_step")
