"""The contract of a method: a task model, a loss on a batch, and what of it predicts."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, get_args

import torch
from torch import Tensor, nn

from dg_project import config
from dg_project.core.errors import CheckpointError, DataError
from dg_project.data.batches import Batch, Batching
from dg_project.data.dataset import ManifestDataset
from dg_project.tasks.base import Prediction, TaskModel

if TYPE_CHECKING:
    from dg_project.diffusion.generator import Generator


class Learner(nn.Module, ABC):
    """A module that turns a batch into losses.

    Attributes:
        average_from: step (0-based) from which on the plain average of the weights predicts, whatever ``training.ema``
            says; None leaves it to that.
    """

    average_from: int | None = None

    def begin_step(self) -> None:
        """Get ready for a step: called once before its losses, in every process, with the weights of the last step."""

    def end_step(self) -> None:
        """Take in what a step gathered: called once after it, in every process, before any checkpoint is written."""

    def selectable(self, progress: float) -> bool:
        """Say whether weights may be chosen for what they score, after this share (0 to 1) of the training is done."""
        return True

    def inference_state(self) -> dict[str, Tensor]:
        """Return the state that predictions depend on."""
        return dict(self.state_dict())

    @abstractmethod
    def losses(self, batch: Batch, progress: float) -> dict[str, Tensor]:
        """Return scalars: ``loss_*`` are summed and minimised, ``log_*`` are only recorded.

        ``loss_adv_*`` belong to a game between two players and need not fall. A step that is computed in micro-batches
        calls this once for each, and weighs the losses by their shares of the images.

        Args:
            batch: images of one step or micro-batch, on the learner's device.
            progress: share of the training that is done, 0 to 1.
        """

    @abstractmethod
    def parameter_groups(self) -> dict[str, list[nn.Parameter]]:
        """Return the parameters to train as ``backbone`` and ``head``."""


class Method(Learner):
    """A way to train a task model. A new one is a file in this package with a subclass.

    Attributes:
        name: how parameters, pipelines and results call it.
        batching: which images a step sees: ``source``, ``mixed``, ``paired``, ``halves`` or ``apart``; see
            ``BatchStream``.
        Params: its own parameters, under the top-level key of its name.
        tasks: what it is made for.
        inner_gradients: its losses hold gradients that it took itself, at steps within the step.
        adapts: a step also sees unlabelled target images (``Batch.adapt``): the method does UDA, not DG.

    Args:
        model: backbone and head.
        params: an instance of ``Params``.
        domains: domain names by ``domain_id``: the source (or the sources), then the pseudo domains, then ``adapt``
            where it adapts.
    """

    name: ClassVar[str]
    batching: ClassVar[Batching]
    Params: ClassVar[type[config.Params]]
    tasks: ClassVar[tuple[config.Task, ...]] = get_args(config.Task)
    inner_gradients: ClassVar[bool] = False
    adapts: ClassVar[bool] = False
    training_only: ClassVar[tuple[str, ...]] = ()
    """Names of the submodules that only training needs."""

    def __init__(self, model: TaskModel, params: config.Params, domains: Sequence[str]) -> None:
        super().__init__()
        self.model = model
        self.params = params
        self.domains = list(domains)

    @abstractmethod
    def losses(self, batch: Batch, progress: float) -> dict[str, Tensor]:
        """See ``Learner.losses``."""

    @classmethod
    def modules(cls) -> list[str]:
        """Return the names of the modules that define the method: its own and those of its bases."""
        return sorted({kind.__module__ for kind in cls.__mro__ if issubclass(kind, Method)})

    @classmethod
    def determined_by(cls, params: Any) -> list[str]:
        """Return what determines the training beside parameters, images and code: hashes of files that it opens."""
        return []

    def prepare(self, images: ManifestDataset, flip: bool, workspace: Path, device: torch.device) -> None:
        """Do before the first step what every step would repeat; most methods have nothing to do.

        Args:
            images: the source's training images.
            flip: whether the loop mirrors them.
            workspace: where work is kept for other trainings.
            device: where it is computed.
        """

    def adapt_to(self, targets: Sequence[str]) -> None:
        """Hear before the first step which target domains unlabelled images will come from; few methods ask."""

    def parameter_groups(self) -> dict[str, list[nn.Parameter]]:
        """Return what trains: the backbone, and everything else."""
        backbone = {id(weight) for weight in self.model.backbone.parameters()}
        trainable = [weight for weight in self.parameters() if weight.requires_grad]
        return {"backbone": [weight for weight in trainable if id(weight) in backbone],
                "head": [weight for weight in trainable if id(weight) not in backbone]}

    def predict(self, images: Sequence[Tensor]) -> list[Prediction]:
        """Predict images (3, h, w) in [0, 1] of any size."""
        return self.model.predict(images)

    def predictor(self) -> nn.ModuleDict:
        """Return the submodules that predictions depend on by name, ``model`` among them, as one module."""
        return nn.ModuleDict({name: child for name, child in self.named_children() if name not in self.training_only})

    def unlabelled(self, batch: Batch) -> Batch:
        """Return the unlabelled target images of a batch.

        Raises:
            DataError: there are none.
        """
        if batch.adapt is None:
            raise DataError(f"the method '{self.name}' adapts to unlabelled target images, but its batches hold none; "
                            "give BatchStream its adapt")
        return batch.adapt

    def inference_state(self) -> dict[str, Tensor]:
        """Return the state that predictions depend on: all of it but the ``training_only`` submodules."""
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
                                  f"({len(wrong)} entries differ, such as '{min(wrong)}'); the model folder is mixed "
                                  "up or of another version, train the model again")
        self.load_state_dict(dict(state), strict=False)


class LDMUser(ABC):
    """A method that asks the diffusion model that ``ldm`` names. It is frozen, and never stored with the method.

    Attributes:
        asks: while it is trained, or when it predicts unseen images. Without the model a method trains, and predicts,
            without the part that asks it.
    """

    asks: ClassVar[Literal["training", "prediction"]]

    @abstractmethod
    def use_ldm(self, ldm: Generator) -> None:
        """Take the opened model.

        Raises:
            ParameterError: the method or this checkpoint cannot do what the parameters ask for.
        """
