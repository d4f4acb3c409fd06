"""The state of an unfinished training, as one file that is whole or absent."""

from __future__ import annotations

import pickle
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Self

import torch

from dg_project.core.errors import CheckpointError
from dg_project.core.files import atomic_file
from dg_project.ops.ema import State


@dataclass
class Progress:
    """Everything a later process needs to go on as if nothing had happened.

    Attributes:
        settings: what the training was started with; another training must not resume from it.
        step: steps done.
        learner: weights and buffers.
        optimizers: state of every optimiser by name.
        precision: scale of the loss, where the precision needs one.
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
        """Write the file; a kill at any moment leaves the old one or the new one."""
        content = {name: getattr(self, name) for name in asdict(Progress({}))}
        with atomic_file(path) as aside:
            torch.save(content, aside)

    @classmethod
    def load(cls, path: Path, settings: dict[str, Any]) -> Self | None:
        """Read the file, or return None where there is none.

        Raises:
            CheckpointError: it cannot be read, or belongs to a training with other settings.
        """
        if not path.exists():
            return None
        try:
            progress = cls(**torch.load(path, map_location="cpu", weights_only=True))
        except (RuntimeError, EOFError, TypeError, OSError, pickle.UnpicklingError) as error:
            raise CheckpointError(f"'{path}' is no readable training checkpoint ({error}); delete it to start the "
                                  "training again") from error
        if progress.settings != settings:
            changed = sorted(k for k in settings if progress.settings.get(k) != settings[k])
            raise CheckpointError(f"'{path}' was written by a training with other settings ({', '.join(changed)}); "
                                  "delete it, or train in another folder")
        return progress
