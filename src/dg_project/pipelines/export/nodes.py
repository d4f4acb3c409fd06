"""Export a trained model to other formats and compare each with the model on real images."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from dg_project.config import DataParams, ExportFormat, ExportParams
from dg_project.core.cache import cache_folder, publish_folder
from dg_project.core.errors import DataError
from dg_project.core.files import FolderWriter, atomic_folder, folder_hash
from dg_project.data.manifest import select

if TYPE_CHECKING:
    from torch import Tensor

    from dg_project.export.parity import ParityResult

logger = logging.getLogger(__name__)


def export_model(model: Path, source: pd.DataFrame, data: DataParams, params: ExportParams,
                 workspace: str) -> tuple[FolderWriter, dict[str, Any]]:
    """Export the model in every format of ``export.format``; return a writer of the folder, and its card."""
    from dg_project.experiments.origin import check_source
    from dg_project.experiments.scoring import source_of
    from dg_project.export import export
    from dg_project.export.decoding import CARD, FILES

    check_source(source, source_of(model), f"the model in '{model}'")
    images = _parity_images(model, source, Path(data.root), params.parity_images)
    identity = folder_hash(model)
    finished = cache_folder(Path(workspace), "export", identity, params.model_dump(mode="json", exclude={"model"}),
                            code=["dg_project.export.export", "dg_project.export.parity"]) / "export"
    with atomic_folder(finished) as folder:
        parities = _export(model, {kind: folder / FILES[kind] for kind in params.format}, images)
        card = export.card(model, parities, f"{len(images)} test images of `{data.source}`", identity)
        (folder / CARD).write_text(json.dumps(card, indent=2) + "\n")
        (folder / "README.md").write_text(export.readme(card))
    return publish_folder(finished), card


def _export(model: Path, files: dict[ExportFormat, Path], images: Sequence[Tensor]) -> dict[ExportFormat, ParityResult]:
    """Write every format and compare it with the model; a disagreement raises."""
    from dg_project.export.export import check_parity, export_graphs

    graphs: dict[ExportFormat, Path] = {kind: file for kind, file in files.items() if kind != "mlflow"}
    logger.info("exporting to %s", ", ".join(files))
    found = export_graphs(model, graphs, images) if graphs else {}
    if "mlflow" in files:
        from dg_project.pipelines.export.mlflow_model import pyfunc_parity, save_pyfunc

        save_pyfunc(model, files["mlflow"], images[0])
        found["mlflow"] = check_parity("mlflow", pyfunc_parity(model, files["mlflow"], images))
    for kind, one in found.items():
        logger.info("%s agrees with the trained model on %d images; largest differences: %s", kind, one.images,
                    one.largest)
    return found


def _parity_images(model: Path, source: pd.DataFrame, root: Path, count: int) -> list[Tensor]:
    """Return test images of the source (or the objects in them), spread evenly, as (3, h, w) in [0, 1]."""
    from dg_project.data.dataset import ManifestDataset
    from dg_project.experiments.scoring import rows_of

    rows = select(source, split="test")
    if rows.empty:
        raise DataError("export: the source has no test image to compare the models on; name its test split under "
                        "data.splits.test and run the ingestion again")
    rows = rows_of(model, rows)
    chosen = np.unique(np.linspace(0, len(rows) - 1, min(count, len(rows))).round().astype(int))
    dataset = ManifestDataset(rows.iloc[chosen], root, cache=False)
    return [dataset[k][0].float() / 255 for k in range(len(dataset))]
