"""A grid: rows x seeds. Every cell is trained and scored once and kept in the workspace, whoever asks for it next."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd

from dg_project.config import GridParams, RowParams, Settings
from dg_project.core.cache import BusyError, cache_folder
from dg_project.core.device import resolve_device, use_threads
from dg_project.core.errors import DataError
from dg_project.core.files import atomic_file, folder_hash
from dg_project.core.provenance import hardware
from dg_project.data.dataset import ManifestDataset
from dg_project.data.manifest import manifest_fingerprint
from dg_project.evaluation.latency import milliseconds_per_image
from dg_project.experiments import scoring, training_run
from dg_project.experiments.closed_loop.loop import Painter, find_closed_loop, run_closed_loop
from dg_project.experiments.training_data import TrainingData, task_rows
from dg_project.experiments.training_run import method_class
from dg_project.methods.model_folder import read_card
from dg_project.pseudo.gate import regate

logger = logging.getLogger(__name__)

LATENCY_IMAGES = 8
"""Test images of the source that every model is timed on."""


@dataclass(frozen=True)
class Cell:
    """One row with one seed.

    Attributes:
        row: its name.
        method: name of the method.
        settings: the run's parameters with the row's changes and the seed.
        domains: pseudo domains that it sees; None is all.
        closed: whether it makes its own pseudo images, in the closed loop.
        overrides: JSON of what the row changes.
    """

    row: str
    method: str
    settings: Settings
    domains: tuple[str, ...] | None
    closed: bool
    overrides: str

    @property
    def name(self) -> str:
        """Folder of its model."""
        return f"{self.row}/seed{self.settings.seed}"


def cells(settings: Settings, grid: GridParams) -> Iterator[Cell]:
    """Yield the cells of a grid, seed by seed, so that every row has its first results early."""
    for seed in grid.seeds:
        for name, row in grid.chosen_rows.items():
            domains = None if row.domains is None else tuple(row.domains)
            yield Cell(name, row.method, settings.with_row(row, seed), domains, row.loop == "closed",
                       _overrides(settings, name, row))


def train_cells(settings: Settings, grid: GridParams, data: TrainingData, workspace: Path,
                painter: Painter | None = None) -> dict[str, Path]:
    """Train every cell; return its model's folder by its name.

    Several processes may work on one grid, in any order and with any subsets: a cell that another process trains is
    left for later and then waited for.

    Args:
        settings: of the run.
        grid: rows and seeds. With ``collect`` nothing is trained.
        data: the source images, and the pseudo images as the run's gate weighed them.
        workspace: where trainings lie.
        painter: makes pseudo images for the rows in the closed loop.

    Raises:
        DataError: ``collect``, and cells were not trained yet.
    """
    every = list(cells(settings, grid))
    training = _Training(settings, data, workspace, painter)
    if grid.collect:
        return _collect(every, training)
    folders: dict[str, Path] = {}
    later = _train_round(every, training, folders, wait=False)
    if later:
        logger.info("another process trains %s; waiting for it", ", ".join(cell.name for cell in later))
        _train_round(later, training, folders, wait=True)
    return {cell.name: folders[cell.name] for cell in every}


def score_cells(settings: Settings, grid: GridParams, models: Path, images: pd.DataFrame, root: Path,
                workspace: Path, run_id: str) -> pd.DataFrame:
    """Return the records of all cells, ``method`` being the name of the row.

    Args:
        settings: of the run.
        grid: rows and seeds.
        models: folder of the cells' models by name.
        images: test images of every domain, the source first.
        root: folder that their paths are relative to.
        workspace: where predictions, scores and timings are kept.
        run_id: version of the run.
    """
    timed = images[images["domain"] == settings.data.source].reset_index(drop=True)
    records = []
    for cell in cells(settings, grid):
        model = models / cell.name
        scores = scoring.score_once(model, images, root, settings, workspace)
        rows = scoring.records(model, scores, run_id, _latency(model, timed, root, settings, workspace))
        records.append(rows.assign(method=cell.row, overrides=cell.overrides))
    return pd.concat(records, ignore_index=True)


@dataclass(frozen=True)
class _Training:
    """How a cell is trained, or found where it was trained before."""

    settings: Settings
    data: TrainingData
    workspace: Path
    painter: Painter | None

    def run(self, cell: Cell, wait: bool) -> training_run.Trained:
        if cell.closed:
            return run_closed_loop(*self._closed(cell), wait=wait).trained
        return training_run.train_method(cell.method, cell.settings, self._seen(cell), self.workspace, wait)

    def find(self, cell: Cell) -> training_run.Trained | None:
        if cell.closed:
            return find_closed_loop(*self._closed(cell))
        return training_run.find_trained(cell.method, cell.settings, self._seen(cell), self.workspace)

    def _closed(self, cell: Cell) -> tuple[str, Settings, TrainingData, Painter, Path]:
        assert self.painter is not None
        alone = TrainingData(self.data.source, self.data.source_root)
        return cell.method, cell.settings, alone, self.painter, self.workspace

    def _seen(self, cell: Cell) -> TrainingData:
        """Return the data with the pseudo images as the cell sees them."""
        if self.data.pseudo is None:
            return self.data
        gates = self.settings.sampling.gate, cell.settings.sampling.gate
        return replace(self.data, pseudo=regate(self.data.pseudo, cell.domains, *gates))


def _train_round(every: list[Cell], training: _Training, folders: dict[str, Path], wait: bool) -> list[Cell]:
    """Train cells into ``folders``; return those that another process holds."""
    busy = []
    for number, cell in enumerate(every, 1):
        logger.info("cell %d of %d: %s", number, len(every), cell.name)
        try:
            folders[cell.name] = training.run(cell, wait).folder
        except BusyError:
            busy.append(cell)
    return busy


def _collect(every: list[Cell], training: _Training) -> dict[str, Path]:
    found = {cell.name: training.find(cell) for cell in every}
    if missing := [name for name, trained in found.items() if trained is None]:
        raise DataError(f"collect: {len(missing)} of {len(found)} cells were not trained with the present parameters, "
                        f"images and code ({', '.join(missing)}); run the grid without collect, or choose rows and "
                        "seeds with only and seeds")
    return {name: trained.folder for name, trained in found.items() if trained is not None}


def _latency(model: Path, images: pd.DataFrame, root: Path, settings: Settings, workspace: Path) -> float:
    """Return the milliseconds that a trained model takes for an image, measured once and kept in the workspace."""
    where = resolve_device(settings.training.device)
    rows = images.head(LATENCY_IMAGES)
    spec, _ = read_card(model)
    stored = cache_folder(workspace, "latency", folder_hash(model), manifest_fingerprint(rows), hardware(str(where)),
                   settings.training.threads,
                          code=["dg_project.evaluation.latency", *method_class(spec.method).modules()]) / "latency.json"
    if not stored.exists():
        use_threads(settings.training.threads)
        seen = ManifestDataset(task_rows(rows, spec.task, spec.head).head(LATENCY_IMAGES), root, cache=False)
        tensors = [seen[i][0].float() / 255 for i in range(len(seen))]
        method = scoring.open_model(model, str(where), settings.ldm)
        measured = milliseconds_per_image(method.predict, tensors, where)
        with atomic_file(stored) as aside:
            aside.write_text(json.dumps(measured))
    return float(json.loads(stored.read_text()))


def _overrides(settings: Settings, name: str, row: RowParams) -> str:
    """Return what a row changes as JSON; what it repeats of the run's parameters is left out."""
    method = {} if row.method == name else {"method": row.method}
    domains = {} if row.domains is None else {"domains": row.domains}
    loop = {} if row.loop == "open" else {"loop": row.loop}
    return json.dumps({**method, **domains, **loop, **_differences(row.params, settings.model_dump(mode="json"))})


def _differences(changes: Mapping[str, Any], base: Mapping[str, Any]) -> dict[str, Any]:
    found = {key: _differences(value, base[key]) if isinstance(value, Mapping) and isinstance(base.get(key), Mapping)
             else value for key, value in changes.items() if key not in base or value != base[key]}
    return {key: value for key, value in found.items() if value != {}}
