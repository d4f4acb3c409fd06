"""A grid of rows x seeds. Every cell is trained and scored once and cached for every later run."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
from tqdm import tqdm

from dg_project.config import GridParams, RowParams, Settings
from dg_project.core.cache import cache_folder, work_through
from dg_project.core.device import resolve_device, use_threads
from dg_project.core.errors import DataError
from dg_project.core.files import atomic_file, folder_hash
from dg_project.core.provenance import hardware
from dg_project.data.dataset import ManifestDataset
from dg_project.data.manifest import manifest_fingerprint
from dg_project.evaluation.latency import milliseconds_per_image
from dg_project.experiments import scoring
from dg_project.experiments.closed_loop.loop import Painter, find_closed_loop, run_closed_loop
from dg_project.experiments.origin import check_cell
from dg_project.experiments.training_data import TrainingData, task_rows
from dg_project.experiments.training_run import Trained, TrainingRun
from dg_project.methods import method_class
from dg_project.methods.model_folder import read_card
from dg_project.pseudo.gate import regate

logger = logging.getLogger(__name__)

LATENCY_IMAGES = 8
"""Test images of the source that every model is timed on."""


@dataclass(frozen=True)
class Cell:
    """One row with one seed.

    Attributes:
        row: row name.
        method: method name.
        settings: the run's parameters with the row's changes and the seed.
        domains: names of its pseudo domains; None is all.
        closed: whether it generates its own pseudo images in the closed loop.
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
        """Name of the model's folder."""
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
    """Train every cell; return the models' folders by cell name.

    Several processes may share a grid, in any order and with any subsets: a cell that another process trains is
    postponed and then waited for.

    Args:
        settings: settings of the run.
        grid: rows and seeds. With ``collect`` nothing is trained.
        data: source images, and pseudo images with the weights of the run's gate.
        workspace: folder of cached work.
        painter: makes pseudo images for rows in the closed loop.

    Raises:
        DataError: ``collect`` is set and cells are not trained yet.
    """
    every = list(cells(settings, grid))
    training = _Training(settings, data, workspace, painter)
    if grid.collect:
        return _collect(every, training)
    trained = work_through("cell", {cell.name: partial(training.train, cell) for cell in every})
    return {name: one.folder for name, one in trained.items()}


def score_cells(settings: Settings, grid: GridParams, models: Path, images: pd.DataFrame, root: Path,
                workspace: Path, run_id: str) -> pd.DataFrame:
    """Return the records of all cells; ``method`` is the row's name.

    Args:
        settings: settings of the run.
        grid: rows and seeds.
        models: folder with the cells' models by name.
        images: test images of every domain, the source first.
        root: folder that their paths are relative to.
        workspace: folder of cached work.
        run_id: version of the run.
    """
    timed = images[images["domain"] == settings.data.source].reset_index(drop=True)
    every = {cell.name: cell for cell in cells(settings, grid)}
    for cell in every.values():
        check_cell(models / cell.name, cell.method, cell.settings)
    scores = work_through("scores", {name: partial(scoring.score_once, models / name, images, root, settings, workspace)
                                     for name in every})
    records = []
    for name, cell in tqdm(every.items(), desc="timing predictions", unit="model", leave=False):
        latency = _latency(models / name, timed, root, settings, workspace)
        rows = scoring.records(models / name, scores[name], run_id, latency)
        records.append(rows.assign(method=cell.row, overrides=cell.overrides))
    return pd.concat(records, ignore_index=True)


@dataclass(frozen=True)
class _Training:
    """Trains cells, or finds them in the cache."""

    settings: Settings
    data: TrainingData
    workspace: Path
    painter: Painter | None

    def train(self, cell: Cell, wait: bool) -> Trained:
        if cell.closed:
            return run_closed_loop(*self._closed(cell), wait=wait).trained
        return self._resolve(cell).train(wait)

    def cached(self, cell: Cell) -> Trained | None:
        if cell.closed:
            return find_closed_loop(*self._closed(cell))
        return self._resolve(cell).cached()

    def _resolve(self, cell: Cell) -> TrainingRun:
        return TrainingRun.resolve(cell.method, cell.settings, self._seen(cell), self.workspace)

    def _closed(self, cell: Cell) -> tuple[str, Settings, TrainingData, Painter, Path]:
        assert self.painter is not None
        alone = TrainingData(self.data.source, self.data.source_root)
        return cell.method, cell.settings, alone, self.painter, self.workspace

    def _seen(self, cell: Cell) -> TrainingData:
        """Return the data with the pseudo images and weights of the cell."""
        if self.data.pseudo is None:
            return self.data
        gates = self.settings.sampling.gate, cell.settings.sampling.gate
        return replace(self.data, pseudo=regate(self.data.pseudo, cell.domains, *gates))


def _collect(every: list[Cell], training: _Training) -> dict[str, Path]:
    found = {cell.name: training.cached(cell) for cell in every}
    if missing := [name for name, trained in found.items() if trained is None]:
        raise DataError(f"collect: {len(missing)} of {len(found)} cells were not trained with the current parameters, "
                        f"images and code ({', '.join(missing)}); run the grid without collect, or choose rows and "
                        "seeds with only and seeds")
    return {name: trained.folder for name, trained in found.items() if trained is not None}


def _latency(model: Path, images: pd.DataFrame, root: Path, settings: Settings, workspace: Path) -> float:
    """Return the milliseconds that a trained model takes per image, measured once and cached."""
    where = resolve_device(settings.training.device)
    rows = images.head(LATENCY_IMAGES)
    spec, _ = read_card(model)
    stored = cache_folder(workspace, "latency", folder_hash(model), manifest_fingerprint(rows), hardware(str(where)),
                          settings.training.threads,
                          code=["dg_project.evaluation.latency",
                                *method_class(spec.method).code_modules()]) / "latency.json"
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
    """Return the changes of a row as JSON, without those that repeat the run's parameters."""
    method = {} if row.method == name else {"method": row.method}
    domains = {} if row.domains is None else {"domains": row.domains}
    loop = {} if row.loop == "open" else {"loop": row.loop}
    return json.dumps({**method, **domains, **loop, **_differences(row.params, settings.model_dump(mode="json"))})


def _differences(changes: Mapping[str, Any], base: Mapping[str, Any]) -> dict[str, Any]:
    found = {key: _differences(value, base[key]) if isinstance(value, Mapping) and isinstance(base.get(key), Mapping)
             else value for key, value in changes.items() if key not in base or value != base[key]}
    return {key: value for key, value in found.items() if value != {}}
