"""Select the weights to keep. No target image is used.

``source_val``: the best score on the source's validation split. ``leave_one_pseudo_out``: the best mean of that score
and the score on a held-out pseudo domain, in held-out scenes. ``last``: the final weights.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from dg_project.core.errors import ParameterError, TrainingError

L = TypeVar("L")

SOURCE_VAL, LEAVE_ONE_PSEUDO_OUT, LAST = "source_val", "leave_one_pseudo_out", "last"


@dataclass
class Selection(Generic[L]):
    """A rule for selecting weights.

    Args:
        name: ``source_val``, ``leave_one_pseudo_out`` or ``last``.
        validate: returns the score of a learner, higher is better; None if there is no validation data.
    """

    name: str
    validate: Callable[[L], float] | None

    def __post_init__(self) -> None:
        if self.name != LAST and self.validate is None:
            raise ParameterError(f"training.selection: {self.name} needs a validation split of the source; "
                                 "give data.splits.val, or set training.selection to last")

    def score(self, learner: L) -> float | None:
        """Return the validation score, or None if this rule needs none.

        Raises:
            TrainingError: the score is not a number.
        """
        if self.name == LAST or self.validate is None:
            return None
        score = float(self.validate(learner))
        if score != score:
            raise TrainingError("the validation score is not a number; check that the validation images have labelled "
                                "objects, or set training.selection to last")
        return score

    @staticmethod
    def better(score: float, best: float | None) -> bool:
        """Return whether a score beats the best so far; with equal scores the earlier one stays."""
        return best is None or score > best
