"""Which of the weights seen in training are kept. Target domains take no part in it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from dg_project.errors import ParameterError, TrainingError

L = TypeVar("L")


@dataclass
class Selection(Generic[L]):
    """A rule for keeping weights.

    Args:
        name: ``source_val`` keeps the best score on the source's validation split, ``last`` the final weights.
        validate: returns the score of a learner, higher is better; None where there is nothing to ask.
    """

    name: str
    validate: Callable[[L], float] | None

    def __post_init__(self) -> None:
        if self.name == "source_val" and self.validate is None:
            raise ParameterError("training.selection: source_val needs a validation split of the source; "
                                 "give data.splits.val, or set training.selection to last")

    def score(self, learner: L) -> float | None:
        """Return the validation score, or None where this rule needs none.

        Raises:
            TrainingError: the score is not a number.
        """
        if self.name == "last" or self.validate is None:
            return None
        score = float(self.validate(learner))
        if score != score:
            raise TrainingError("the validation score is not a number; check that the source's validation split has "
                                "labelled objects, or set training.selection to last")
        return score

    @staticmethod
    def better(score: float, best: float | None) -> bool:
        """Return whether a score beats the best so far; of equal scores the earlier one stays."""
        return best is None or score > best
