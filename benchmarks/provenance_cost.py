"""What do the checks that artifacts belong together cost? Their CPU seconds in a training, and in the rest of a run.

    make run && python benchmarks/provenance_cost.py

Opens the newest artifacts of ``--pipeline=drsf`` and makes each check of that run once, with no file hashed before. A
training checks its manifests and, when it first opens an image, the image's hash.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable
from pathlib import Path

import pandas as pd
from memory import append, facts
from project import ROOT, run_parameters

from dg_project.config.paths import ROOT_VARIABLE
from dg_project.core.files import inside
from dg_project.core.model_versions import newest_model
from dg_project.data import origin as files
from dg_project.evaluation.predictions import scored_rows
from dg_project.experiments import origin
from dg_project.experiments.training_checks import check_data
from dg_project.experiments.training_data import TrainingData
from dg_project.hooks.run_context import read_settings
from dg_project.methods.model_folder import read_card

RESULTS = Path(__file__).parent / "results" / "provenance_cost.csv"


def newest(name: str) -> Path:
    """Return the newest version of an artifact below ``data/``."""
    found = sorted(ROOT.glob(f"data/0*/{name}/*/{name}"))
    if not found:
        raise SystemExit(f"there is no '{name}' below data/: run `make run` first")
    return found[-1]


def cpu(work: Callable[[], object]) -> float:
    """Return the CPU seconds of some work, its files' hashes not known."""
    files._hash.cache_clear()
    start = time.process_time()
    work()
    return time.process_time() - start


def check_opened(rows: pd.DataFrame, root: Path) -> None:
    """Check the hash of every image, as it is when an image is opened."""
    for name, sha256 in rows[["image", "sha256"]].itertuples(index=False):
        files.check_file(inside(root, name), str(sha256 or ""))


def main() -> None:
    """Measure, print and append one row."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--out", type=Path, default=RESULTS)
    given = parser.parse_args()
    os.environ[ROOT_VARIABLE] = str(ROOT)
    settings = read_settings(run_parameters())
    root = Path(settings.data.root)
    source, target, pseudo = (pd.read_parquet(newest(f"{name}_manifest.parquet")) for name in ("source", "target",
                                                                                               "pseudo"))
    candidates = pd.read_parquet(newest("candidate_manifest.parquet"))
    drawn, painted = newest("pseudo_images"), newest("candidate_images")
    model, predictions = newest_model(ROOT / "data/06_models/model"), pd.read_parquet(newest("predictions.parquet"))
    spec, meta = read_card(model)
    images = scored_rows(source, target)
    data = TrainingData(source=source, source_root=root, pseudo=pseudo, pseudo_root=drawn)

    def training() -> None:
        check_data(data, settings, spec.method)
        check_opened(source[source["split"].isin(["train", "val"])], root)
        check_opened(pseudo[pseudo["kept"]], drawn)

    def rest() -> None:
        files.check_pairs(candidates, source)
        files.check_images(source, root)
        files.check_images(candidates, painted)
        origin.check_source(source, meta["source"], "the model")
        origin.check_comparable({"model": model})
        origin.check_predictions(predictions, images, model)
        origin.mark_predictions(predictions, model, images)
        check_opened(images, root)

    trained = meta["seconds_per_step"] * meta["max_steps"]
    checks = cpu(training)
    row = {"pipeline": "drsf", "images": len(source) + len(pseudo), "training_s": round(trained, 1),
           "checks_s": round(checks, 3), "share_percent": round(100 * checks / trained, 3),
           "rest_of_run_s": round(cpu(rest), 3), **facts()}
    append([row], given.out)


if __name__ == "__main__":
    main()
