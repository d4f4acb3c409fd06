"""The state of an unfinished training in one file, written atomically."""

from __future__ import annotations

import pickle
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Self

import torch

from dg_project.core import torch_files
from dg_project.core.errors import CheckpointError
from dg_project.ops.ema import State


@dataclass
class Progress:
    """Everything a later process needs to resume without a difference.

    Attributes:
        settings: settings of the training; a training with other settings must not resume from it.
        step: number of steps done.
        learner: weights and buffers.
        optimizers: state of every optimiser by name.
        precision: loss scale, if the precision needs one.
        average: the moving average of the weights, or None.
        best_step: step (1-based) of the best validation, or None.
        best_score: its score.
        best: its weights.
        history: one row of plain numbers per step.
    """

    settings: dict[str, Any]
    step: int = 0
    learner: State = field(default_factory=dict)
    optimizers: dict[str, Any] = field(default_factory=dict)
    precision: dict[str, Any] = field(default_factory=dict)
    average: State | None = None
    best_step: int | None = None
    best_score: float | None = None
    best: State | None = None
    history: list[dict[str, float]] = field(default_factory=list)

    def save(self, path: Path) -> None:
        """Write the file atomically: after a kill, either the old or the new one is there."""
        content = {name: getattr(self, name) for name in asdict(Progress({}))}
        torch_files.save(content, path)

    @classmethod
    def load(cls, path: Path, settings: dict[str, Any]) -> Self | None:
        """Read the file, or return None if there is none.

        Raises:
            CheckpointError: the file cannot be read, or belongs to a training with other settings.
        """
        if not path.exists():
            return None
        try:
            progress = cls(**torch.load(path, map_location="cpu", weights_only=True))
        except (RuntimeError, EOFError, TypeError, OSError, pickle.UnpicklingError) as error:
            raise CheckpointError(f"'{path}' is not a readable training checkpoint ({error}); delete it to start the "
                                  "training again") from error
        if progress.settings != settings:
            changed = sorted(k for k in settings if progress.settings.get(k) != settings[k])
            raise CheckpointError(f"'{path}' was written by a training with other settings ({', '.join(changed)}); "
                                  "delete it, or train in another folder")
        return progress
