"""Add a trained model to those that ship with the project, and score what is shipped.

    python tools/zoo.py data/06_models/model/VERSION/model --name streets_drsf --command "make run"
    make results                                   # writes docs/models.md

The weights are stored in half precision, and the scores are those of the stored weights: on the test images of the
source and of every target, with bootstrap intervals over the scenes. ``--env`` names the Kedro environment of the data.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path

import pandas as pd
import torch
from safetensors.torch import load_file

PROJECT = Path(__file__).parents[1]
sys.path.insert(0, str(PROJECT / "benchmarks"))

from project import run_parameters  # noqa: E402

from dg_project.config.paths import ROOT_VARIABLE  # noqa: E402
from dg_project.core.files import atomic_file, atomic_folder, weights_hash  # noqa: E402
from dg_project.core.model_versions import CARD, WEIGHTS, ZOO  # noqa: E402
from dg_project.data.readers import configured, read_domain  # noqa: E402
from dg_project.evaluation.intervals import bootstrap  # noqa: E402
from dg_project.evaluation.predictions import scored_rows  # noqa: E402
from dg_project.evaluation.scorers import SCORERS, main_metric  # noqa: E402
from dg_project.experiments.scoring import predict, rows_of  # noqa: E402
from dg_project.hooks.run_context import read_settings  # noqa: E402
from dg_project.methods.model_folder import read_card, save_weights  # noqa: E402
from dg_project.reports.zoo_table import ABOUT  # noqa: E402


def main() -> None:
    """Store, score and describe one model."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("model", type=Path, help="folder of a trained model")
    parser.add_argument("--name", required=True)
    parser.add_argument("--command", required=True, help="what trains it again")
    parser.add_argument("--env", help="Kedro environment of its data")
    given = parser.parse_args()
    os.environ[ROOT_VARIABLE] = str(PROJECT)
    folder = PROJECT / ZOO / given.name
    store(given.model, folder)
    task = read_card(folder)[0].task
    about = {"command": given.command, "weights": weights_hash(folder), "metric": main_metric(task),
             "scores": scores(folder, given.env)}
    with atomic_file(folder / ABOUT) as aside:
        aside.write_text(json.dumps(about, indent=2) + "\n")


def store(model: Path, folder: Path) -> None:
    """Copy a model with weights in half precision; counters stay integers."""
    state = load_file(model / WEIGHTS)
    with atomic_folder(folder) as aside:
        save_weights({name: value.half() if value.is_floating_point() else value for name, value in state.items()},
                     aside / WEIGHTS)
        (aside / CARD).write_text((model / CARD).read_text())


def scores(folder: Path, env: str | None) -> list[dict[str, object]]:
    """Return value, bounds and number of images of every domain and of the unseen mean, in the main metric."""
    settings = read_settings(run_parameters(env))
    data, root, (spec, _) = settings.data, Path(settings.data.root), read_card(folder)
    roles = {data.source: "source"} | dict.fromkeys(data.targets, "target")
    read = {name: read_domain(role=role, mask_classes=settings.segmentation.classes, **configured(data, root, name))[0]
            for name, role in roles.items()}
    images = scored_rows(read.pop(data.source), pd.concat(read.values(), ignore_index=True))
    torch.manual_seed(0)
    found = predict(folder, images, root, settings.evaluation.batch_size, settings.training.device)
    drawn = bootstrap(SCORERS[spec.task], {"model": found}, rows_of(folder, images), spec.classes, root)
    table = drawn.intervals()
    table = table[table["metric"] == main_metric(spec.task)]
    return [{"domain": row["domain"], "value": round(row["value"], 4), "low": round(row["low"], 4),
             "high": round(row["high"], 4), "images": int(row["n_images"])} for row in table.to_dict("records")]


if __name__ == "__main__":
    main()
