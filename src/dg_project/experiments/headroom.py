"""How much there is to win: ERM that also trains on labelled target images. An upper bound, never a method."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from dg_project.config import Settings
from dg_project.config.grids import BASELINE
from dg_project.core.errors import DataError
from dg_project.data.manifest import ADAPT
from dg_project.data.readers import configured, read_domain
from dg_project.experiments import scoring
from dg_project.experiments.training_data import TrainingData
from dg_project.experiments.training_run import TrainingRun

ORACLE = "oracle_target"
"""Name of the row next to ERM."""


def labelled_targets(target: pd.DataFrame, settings: Settings) -> pd.DataFrame:
    """Return the labelled images of the adapt split of every target, as training images of the source.

    Args:
        target: test images of every target.
        settings: all parameters; without ``data.adapt_split`` the split is ``adapt``.

    Raises:
        DataError: one of them is also a test image of its domain.
    """
    data, parts = settings.data, []
    for name in data.targets:
        reading = configured(data, Path(data.root), name, {"train": data.adapt_split or ADAPT})
        rows, _ = read_domain(role="source", mask_classes=settings.segmentation.classes, **reading)
        tested = set(target.loc[target["domain"] == name, "sha256"])
        if both := [str(row.image) for row in rows.itertuples() if row.sha256 in tested]:
            raise DataError(f"'{both[0]}' of the split '{data.adapt_split or ADAPT}' is also a test image of '{name}': "
                            "give another split (data.adapt_split, data.target_split)")
        parts.append(rows.assign(image_id=f"{name}/" + rows["image_id"].astype(str), domain=data.source))
    return pd.concat(parts, ignore_index=True)


def runs(source: pd.DataFrame, oracle: pd.DataFrame, settings: Settings) -> Iterator[tuple[str, TrainingRun]]:
    """Yield the name and the training of every cell: both rows with every seed of ``benchmark.seeds``.

    Args:
        source: manifest of the source.
        oracle: from ``labelled_targets``.
        settings: all parameters.
    """
    everything = pd.concat([source, oracle], ignore_index=True)
    for seed in settings.benchmark.seeds:
        one = settings.model_copy(update={"seed": seed})
        for row, images in ((BASELINE, source), (ORACLE, everything)):
            data = TrainingData(images, Path(settings.data.root))
            yield f"{row}/seed{seed}", TrainingRun.resolve(BASELINE, one, data, Path(settings.workspace))


def score_rows(models: Path, images: pd.DataFrame, settings: Settings, run_id: str) -> pd.DataFrame:
    """Return the records of all cells; ``method`` is the row's name.

    Args:
        models: folder of the models by name.
        images: test images of every domain.
        settings: all parameters.
        run_id: version of the run.
    """
    records = []
    for seed in settings.benchmark.seeds:
        for row in (BASELINE, ORACLE):
            model = models / row / f"seed{seed}"
            scores = scoring.score_once(model, images, Path(settings.data.root), settings, Path(settings.workspace))
            setting = {"setting": "oracle"} if row == ORACLE else {}
            records.append(scoring.records(model, scores, run_id).assign(method=row, **setting))
    return pd.concat(records, ignore_index=True)
