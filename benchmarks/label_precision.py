"""Measures DiGA's pseudo labels for every seed: ``kedro run --pipeline=diga`` measures them for one.

    python benchmarks/label_precision.py data/06_models/benchmark_models    # then `make results` renews docs/diga.md

Takes the models ``diga_warmup`` and ``diga`` of each seed below the folder, and writes ``label_precision.csv``. What is
measured, and on which images, is as in that pipeline; the labels of targets that are opened here reach no training.
"""

from __future__ import annotations

import argparse
from itertools import product
from pathlib import Path
from typing import Literal

import pandas as pd
from project import ROOT, read_parameters

from dg_project.domains.manifest import ADAPT
from dg_project.domains.readers import configured, read_domain
from dg_project.label_quality import label_quality
from dg_project.methods.artifact import CARD, read_card
from dg_project.parameters import Parameters
from dg_project.training.self_training import DiGAParams

PAIRS = (("diga_warmup", "diga_warmup"), ("diga_warmup", "diga"), ("diga", "diga"))
"""Whose labels, whose features: a round of self-training begins, it ends, and one more would begin."""


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("models", type=Path, help="folder with trained models at any depth")
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks/results/label_precision.csv")
    options = parser.parse_args()
    models = {}
    for card in sorted(options.models.rglob(CARD)):
        spec, facts = read_card(card.parent)
        models[facts["seed"], spec.method] = card.parent
    seeds = sorted({seed for seed, _ in models})
    missing = [f"{name} of seed {seed}" for seed in seeds for name in PAIRS[1] if (seed, name) not in models]
    if missing or not models:
        parser.error(f"'{options.models}' lacks {', '.join(missing) or 'trained models'}")
    raw = read_parameters(task="segmentation")
    settings = Parameters.model_validate(raw)
    params = DiGAParams.model_validate(raw["diga"]).self_training
    root, few = ROOT / settings.data.root, settings.reporting.feature_images

    def first(role: Literal["target", "adapt"], splits: dict[str, str] | None = None) -> pd.DataFrame:
        found = [read_domain(role=role, **configured(settings.data, root, name, splits))[0].head(few)
                 for name in settings.data.targets]
        return pd.concat(found, ignore_index=True)

    adapt, test = first("adapt", {ADAPT: settings.data.adapt_split or ADAPT}), first("target")
    tables = []
    for seed, (labels, features) in product(seeds, PAIRS):
        found = label_quality(models[seed, labels], models[seed, features], adapt, test, root, params,
                              settings.training.device, settings.evaluation.batch_size)
        tables.append(found[found["rule"] != "curve"].assign(seed=seed, labels_of=labels, features_of=features))
        print(tables[-1].to_string(index=False))
    columns = ["seed", "labels_of", "features_of", "rule", "coverage", "precision"]
    pd.concat(tables)[columns].assign(n_images=len(test)).to_csv(options.out, index=False, float_format="%.6g")


if __name__ == "__main__":
    main()
