"""What the loop asks of the thing that it trains."""

from __future__ import annotations

from abc import ABC, abstractmethod

from torch import Tensor, nn

from dg_project.domains.batches import Batch


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
