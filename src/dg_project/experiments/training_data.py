"""The images that a training may read, how a task sees them, and in which order they come."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from dg_project.config import ClassificationParams, Settings, Task, TrainingParams
from dg_project.core.errors import DataError
from dg_project.data.objects import objects, whole_images
from dg_project.experiments.held_out import leave_one_pseudo_out
from dg_project.methods import Method
from dg_project.methods.base import Needs
from dg_project.methods.model_folder import ModelSpec
from dg_project.pseudo.renewal import SyntheticSet, SyntheticSets, refresh_steps
from dg_project.training.selection import LEAVE_ONE_PSEUDO_OUT, SOURCE_VAL

logger = logging.getLogger(__name__)

LDM_SECONDS = "log_ldm_seconds_per_image"
"""Column of a history: seconds of the diffusion model in a step, divided by the images of the step."""


@dataclass(frozen=True)
class TrainingData:
    """The images a training may read. Target images only unlabelled, and only for UDA methods.

    Attributes:
        source: manifest of the source domain (or of several), train and val.
        source_root: folder that its paths are relative to.
        pseudo: manifest of the pseudo domains, or None.
        pseudo_root: folder that its paths are relative to.
        held_out: pseudo images that select weights and never train, or None.
        adapt: manifest of unlabelled target images, relative to ``source_root`` too, or None.
    """

    source: pd.DataFrame
    source_root: Path
    pseudo: pd.DataFrame | None = None
    pseudo_root: Path | None = None
    held_out: pd.DataFrame | None = None
    adapt: pd.DataFrame | None = None

    @property
    def source_domains(self) -> list[str]:
        """Names of the domains that are trained or validated on."""
        return source_domains(self.source)

    @property
    def pseudo_domains(self) -> list[str]:
        """Names of the pseudo domains."""
        return [] if self.pseudo is None else list(dict.fromkeys(self.pseudo["domain"]))

    def allowed(self, kind: type[Method], needs: Needs) -> TrainingData:
        """Return the images that a method needs, and no others.

        Raises:
            DataError: it needs pseudo images or unlabelled target images, and there are none.
        """
        data = self
        if needs.pseudo != "offline":
            data = replace(data, pseudo=None, pseudo_root=None)
        elif data.pseudo is None:
            raise DataError(f"the method '{kind.name}' trains on pseudo domains; run `kedro run --pipeline=drsf`")
        if not needs.unlabelled_targets:
            return replace(data, adapt=None)
        if data.adapt is None or data.adapt.empty:
            raise DataError(f"the method '{kind.name}' adapts to unlabelled target images, and there are none: run "
                            "`kedro run --pipeline=uda`, or name their split with data.adapt_split")
        return data

    def split(self, name: str, settings: Settings) -> tuple[TrainingData, Settings]:
        """Hold out the pseudo images that select weights, where ``training.selection`` says so.

        Without pseudo images the returned settings select by ``source_val``.
        """
        params = settings.training
        if params.selection != LEAVE_ONE_PSEUDO_OUT:
            return self, settings
        if self.pseudo is None:
            logger.info("'%s' trains on no pseudo image: its weights are selected by source_val", name)
            return self, settings.model_copy(update={"training": params.model_copy(update={"selection": SOURCE_VAL})})
        fold = leave_one_pseudo_out(self.source, self.pseudo, settings.seed, params.held_out_share)
        return replace(self, source=fold.source, pseudo=fold.pseudo, held_out=fold.held_out), settings

    def as_seen(self, spec: ModelSpec, min_visibility: float) -> TrainingData:
        """Return the rows that training opens, as the task sees them (see ``task_rows``)."""
        used = task_rows(self.source[self.source["split"].isin(["train", "val"])], spec.task, spec.head)
        pseudo, held_out = (None if rows is None else task_rows(rows, spec.task, spec.head, min_visibility)
                            for rows in (self.pseudo, self.held_out))
        adapt = self.adapt
        if adapt is not None and spec.task == "classification":
            adapt = whole_images(adapt, self.source)
        return replace(self, source=used, pseudo=pseudo, held_out=held_out, adapt=adapt)


def task_rows(manifest: pd.DataFrame, task: Task, head: dict[str, Any], min_visibility: float = -1) -> pd.DataFrame:
    """Return a manifest as a task sees it: classification has one object per row.

    Args:
        manifest: rows of images.
        task: task name.
        head: parameters under the task's name.
        min_visibility: objects of pseudo images that score less are lost: no detector is trained on them, neither as
            object nor as background, and no classifier sees them.
    """
    if task != "classification":
        return lost_ignored(manifest, min_visibility)
    params = ClassificationParams.model_validate(head)
    return objects(manifest, params.margin, params.min_side, min_visibility)


def lost_ignored(pseudo: pd.DataFrame, min_visibility: float) -> pd.DataFrame:
    """Return a pseudo manifest in which boxes with a lower ``visibility`` are difficult."""
    if min_visibility <= -1 or "visibility" not in pseudo:
        return pseudo
    difficult = [[bool(hard) or float(seen) < min_visibility for hard, seen in zip(*row, strict=True)]
                 for row in zip(pseudo["difficult"], pseudo["visibility"], strict=True)]
    return pseudo.assign(difficult=pd.Series(difficult, pseudo.index, dtype=object))


def source_domains(source: pd.DataFrame) -> list[str]:
    """Return the names of the domains that are trained or validated on."""
    return list(dict.fromkeys(source.loc[source["split"].isin(["train", "val"]), "domain"]))


class Generated(NamedTuple):
    """Images that the diffusion model generated for a training, and the seconds it took."""

    images: int
    seconds: float


def generated_before(pseudo: pd.DataFrame | None) -> Generated:
    """Return the cost of pseudo images; a manifest without times (of an older run) gives NaN seconds."""
    if pseudo is None:
        return Generated(0, 0.0)
    known = pseudo if "ldm_seconds" in pseudo else pseudo.assign(ldm_seconds=float("nan"))
    images = known.groupby("image")[["candidates", "ldm_seconds"]].first()
    return Generated(int(images["candidates"].sum()), float(images["ldm_seconds"].sum(skipna=False)))


class Segment(NamedTuple):
    """Part of a training with one set of pseudo images, up to and including step ``end`` (1-based)."""

    pseudo: pd.DataFrame | None
    root: Path | None
    end: int


class Segments:
    """Segments of a training that use one set of pseudo images each; most trainings have one.

    Args:
        data: images as the task sees them.
        params: training parameters.
        generated: cost of the pseudo images made before the training.
        sets: synthetic sets of a method that renews its pseudo images.
        spec: task and head, which say how their images are seen.
        min_visibility: see ``task_rows``.

    Raises:
        ParameterError: the training ends before the first refresh of its synthetic set.
    """

    def __init__(self, data: TrainingData, params: TrainingParams, generated: Generated, sets: SyntheticSets | None,
                 spec: ModelSpec, min_visibility: float) -> None:
        self.data, self.params, self.generated, self.sets = data, params, generated, sets
        self._spec, self._min_visibility = spec, min_visibility
        self.ends = [params.max_steps]
        if sets is not None:
            refreshes = refresh_steps(sets.params, len(sets.source), params.images_per_step, params.max_steps)
            self.ends = [*refreshes, params.max_steps]

    def __iter__(self) -> Iterator[Segment]:
        """Yield the segments; a synthetic set is made when its segment begins."""
        for number, end in enumerate(self.ends):
            if self.sets is None:
                yield Segment(self.data.pseudo, self.data.pseudo_root, end)
            else:
                current = self.sets[number]
                rows = task_rows(current.manifest, self._spec.task, self._spec.head, self._min_visibility)
                yield Segment(rows, current.root, end)

    def all_sets(self) -> tuple[SyntheticSet, ...]:
        """Return the synthetic sets in order."""
        return () if self.sets is None else tuple(self.sets[number] for number in range(len(self.ends)))

    def cost(self, history: pd.DataFrame) -> Generated:
        """Return all images generated for the training, and the diffusion model's seconds, in its steps too."""
        generated = self.generated
        if sets := self.all_sets():
            generated = Generated(sets[-1].card["images_generated"], sets[-1].card["ldm_seconds"])
        in_steps = float(history[LDM_SECONDS].sum()) * self.params.images_per_step if LDM_SECONDS in history else 0.0
        return Generated(generated.images, generated.seconds + in_steps)
