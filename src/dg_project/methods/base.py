"""The contract of a method: a task model, a loss on a batch, and what of it predicts."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, get_args

import torch
from torch import Tensor, nn

from dg_project import parameters
from dg_project.domains.batches import Batch, Batching
from dg_project.domains.dataset import ManifestDataset
from dg_project.errors import CheckpointError, DataError
from dg_project.tasks.base import Prediction, TaskModel
from dg_project.training.learner import Learner


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
    Params: ClassVar[type[parameters.Params]]
    tasks: ClassVar[tuple[parameters.Task, ...]] = get_args(parameters.Task)
    inner_gradients: ClassVar[bool] = False
    adapts: ClassVar[bool] = False
    training_only: ClassVar[tuple[str, ...]] = ()
    """Names of the submodules that only training needs."""

    def __init__(self, model: TaskModel, params: parameters.Params, domains: Sequence[str]) -> None:
        super().__init__()
        self.model = model
        self.params = params
        self.domains = list(domains)

    @abstractmethod
    def losses(self, batch: Batch, progress: float) -> dict[str, Tensor]:
        """See ``Learner.losses``."""

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
