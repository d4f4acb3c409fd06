"""Measure DiGA's pseudo labels for every seed; ``kedro run --pipeline=diga`` measures one seed.

    python benchmarks/label_precision.py data/06_models/benchmark_models  # then `make results` for docs/methods/diga.md

Reads the models ``diga_warmup`` and ``diga`` of each seed below the folder, writes ``label_precision.csv``. Measures
and images are those of the pipeline; the target labels read here are never used in training.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

import pandas as pd
from project import ROOT, run_parameters

from dg_project.config.paths import ROOT_VARIABLE
from dg_project.hooks.run_context import read_settings
from dg_project.methods.model_folder import CARD, read_card
from dg_project.pipelines.ingestion.nodes import ingest_adapt_always, ingest_targets
from dg_project.pipelines.reporting.diga import measure_labels

METHODS = ("diga_warmup", "diga")


def main() -> None:
    """Measure the labels and write the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("models", type=Path, help="folder with trained models at any depth")
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks/results/label_precision.csv")
    options = parser.parse_args()
    models = {}
    for card in sorted(options.models.rglob(CARD)):
        spec, facts = read_card(card.parent)
        models[facts["seed"], spec.method] = card.parent
    seeds = sorted({seed for seed, _ in models})
    missing = [f"{name} of seed {seed}" for seed in seeds for name in METHODS if (seed, name) not in models]
    if missing or not models:
        parser.error(f"'{options.models}' lacks {', '.join(missing) or 'trained models'}")
    os.environ[ROOT_VARIABLE] = str(ROOT)
    settings = read_settings(run_parameters(task="segmentation"))
    (adapt, _), (target, _) = ingest_adapt_always(settings.data), ingest_targets(settings.data)
    rows = pd.DataFrame({"method": METHODS})
    tables = []
    for seed in seeds:
        warm_up, adapted = (models[seed, name] for name in METHODS)
        found = measure_labels(adapted, warm_up, rows, adapt, target, settings, settings.methods["diga"])
        tables.append(found[found["rule"] != "curve"].assign(seed=seed))
        print(tables[-1].to_string(index=False))
    n_images = target["domain"].value_counts().clip(upper=settings.reporting.feature_images).sum()
    columns = ["seed", "labels_of", "features_of", "rule", "coverage", "precision"]
    pd.concat(tables)[columns].assign(n_images=n_images).to_csv(options.out, index=False, float_format="%.6g")


if __name__ == "__main__":
    main()
