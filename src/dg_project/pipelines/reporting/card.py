"""Write the domain-robustness card of the trained model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from dg_project.config import Settings
from dg_project.config.paths import locate
from dg_project.core.files import folder_hash
from dg_project.pipelines.reporting.nodes import first_is_baseline

ONE_SEED = ("One run, one seed: the intervals cover the choice of test scenes, not the training. `make bench` "
            "repeats methods over seeds.")
RENDERED = ("On the embedded data, Streets, all images are rendered: the numbers rank methods on it and say nothing "
            "about real streets.")
EMBEDDED = "data/01_raw/streets"


def write_card(model: Path, results: pd.DataFrame, intervals: pd.DataFrame, data_card: dict[str, Any],
               settings: Settings, run_id: str) -> str:
    """Return the domain-robustness card of the model as Markdown."""
    from dg_project.evaluation.records import with_intervals
    from dg_project.experiments.origin import check_card, check_results
    from dg_project.methods.model_folder import read_card
    from dg_project.reports.model_card import ModelFacts, model_card

    check_results(results, model)
    check_card(data_card, results)
    spec, trained = read_card(model)
    names = first_is_baseline(results)
    rendered = Path(settings.data.root) == locate(EMBEDDED)
    return model_card(with_intervals(results, intervals), ModelFacts(
        spec=spec.model_dump(mode="json"), trained=trained, identity=folder_hash(model), run=run_id,
        data_card=data_card, limits=[ONE_SEED, *([RENDERED] if rendered else [])],
        baseline=None if names[0] == spec.method else names[0]))
