"""The rounds of a training: one to its end, or one per synthetic set; and the diffusion model that a method asks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import pandas as pd
from torch import nn

from dg_project.diffusion.user import LDMUser
from dg_project.online import SyntheticSet, SyntheticSets, refresh_steps
from dg_project.parameters import LDMParams, TrainingParams
from dg_project.training.device import resolve_device

if TYPE_CHECKING:
    from dg_project.diffusion.generator import Generator

SPENT = "log_ldm_seconds_per_image"
"""Column of a history: time that the diffusion model took in a step, divided by the images of the step."""


class Made(NamedTuple):
    """How many images the diffusion model made for a training, and the seconds that took."""

    images: int
    seconds: float


class Round(NamedTuple):
    """Pseudo images that are trained on up to a step (1-based)."""

    pseudo: pd.DataFrame | None
    root: Path | None
    end: int


@dataclass(frozen=True)
class Rounds:
    """What a training sees beside its source, round by round.

    Attributes:
        pseudo: pseudo images that were made before, as the task sees them.
        root: folder that their paths are relative to.
        before: what they took.
        params: of the training.
        sets: synthetic sets, for a method that trains on them.
        see: how the task looks at their images.

    Raises:
        ParameterError: the training ends before the first refresh of its synthetic set.
    """

    pseudo: pd.DataFrame | None
    root: Path | None
    before: Made
    params: TrainingParams
    sets: SyntheticSets | None
    see: Callable[[pd.DataFrame], pd.DataFrame]

    def __post_init__(self) -> None:
        """Count the rounds, so that a training which is too short is told before it begins."""
        _ = self.ends

    @property
    def ends(self) -> list[int]:
        """The step (1-based) that each round ends with."""
        last = self.params.max_steps
        if self.sets is None:
            return [last]
        count = len(self.sets.source)
        return [*refresh_steps(self.sets.params, count, self.params.images_per_step, last), last]

    def __iter__(self) -> Iterator[Round]:
        """Yield the rounds; a synthetic set is made when its round begins."""
        for number, end in enumerate(self.ends):
            if self.sets is None:
                yield Round(self.pseudo, self.root, end)
            else:
                now = self.sets[number]
                yield Round(self.see(now.manifest), now.root, end)

    def all_sets(self) -> tuple[SyntheticSet, ...]:
        """Return the synthetic sets in order."""
        return () if self.sets is None else tuple(self.sets[number] for number in range(len(self.ends)))

    def made(self, history: pd.DataFrame) -> Made:
        """Return what the diffusion model made, and its time for that and for what every step asked it."""
        made = self.before
        if sets := self.all_sets():
            made = Made(sets[-1].card["images_generated"], sets[-1].card["ldm_seconds"])
        asked = float(history[SPENT].sum()) * self.params.images_per_step if SPENT in history else 0.0
        return Made(made.images, made.seconds + asked)


def made_before(pseudo: pd.DataFrame | None) -> Made:
    """Return what pseudo images took; a manifest without times, of an older run, gives NaN."""
    if pseudo is None:
        return Made(0, 0.0)
    known = pseudo if "ldm_seconds" in pseudo else pseudo.assign(ldm_seconds=float("nan"))
    images = known.groupby("image")[["candidates", "ldm_seconds"]].first()
    return Made(int(images["candidates"].sum()), float(images["ldm_seconds"].sum(skipna=False)))


def open_ldm(kind: type[Any], moment: Literal["training", "prediction"], ldm: LDMParams | None,
             device: str) -> Generator | None:
    """Return the opened diffusion model for a method that asks it at this moment, None for every other method."""
    if ldm is None or not issubclass(kind, LDMUser) or kind.asks != moment:
        return None
    from dg_project.diffusion.generator import Generator

    return Generator.from_params(ldm, resolve_device(device))


def hand_over(ldm: Generator | None, method: nn.Module) -> None:
    """Give an opened diffusion model to the method that asks it."""
    if ldm is not None and isinstance(method, LDMUser):
        method.use_ldm(ldm)
