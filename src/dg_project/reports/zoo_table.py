"""The tables of docs/models.md: the models that ship with the project and their scores."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd

from dg_project.core.errors import CheckpointError
from dg_project.core.files import weights_hash
from dg_project.core.model_versions import CARD, WEIGHTS, ZOO
from dg_project.evaluation.formatting import low_to_high, percent
from dg_project.evaluation.records import UNSEEN_MEAN
from dg_project.evaluation.table import markdown
from dg_project.methods.model_folder import read_card

ABOUT = "about.json"
"""File of a shipped model: its scores, and the command that trains it again. ``tools/zoo.py`` writes it."""


def shipped_models(root: Path) -> list[Path]:
    """Return the folders of the shipped models of a project, in order of name."""
    return sorted(card.parent for card in (root / ZOO).glob(f"*/{CARD}"))


def zoo_table(root: Path) -> str:
    """Return two tables as Markdown: what each model is, and its score with its interval in every domain.

    Raises:
        CheckpointError: the scores are those of other weights.
    """
    about = {folder: _read(folder) for folder in shipped_models(root)}
    names = pd.Index([folder.name for folder in about], name="model")
    what = pd.DataFrame([_what(folder, facts) for folder, facts in about.items()], names)
    scores = pd.DataFrame([_scores(facts) for facts in about.values()], names)
    return f"{markdown(what)}\n\n{markdown(scores)}"


def _read(folder: Path) -> dict[str, Any]:
    facts: dict[str, Any] = json.loads((folder / ABOUT).read_text())
    if facts["weights"] != weights_hash(folder):
        raise CheckpointError(f"'{folder / ABOUT}' has the scores of other weights; score them again with tools/zoo.py")
    return facts


def _what(folder: Path, facts: dict[str, Any]) -> dict[str, str]:
    spec, meta = read_card(folder)
    return {"method": spec.method, "task": spec.task.replace("_", " "), "network": spec.backbone.name,
            "trained on": ", ".join([meta["source"], *spec.domains[1:]]),
            "steps × images": f"{meta['max_steps']} × {meta['images_per_step']}", "seed": str(meta["seed"]),
            "training, s": f"{meta['seconds_per_step'] * meta['max_steps']:.0f}",
            "size, MB": f"{(folder / WEIGHTS).stat().st_size / 1e6:.1f}", "train it again": f"`{facts['command']}`"}


def _scores(facts: dict[str, Any]) -> dict[str, str]:
    names = {UNSEEN_MEAN: "**unseen mean**"}
    return {"metric": facts["metric"]} | {
        names.get(row["domain"], row["domain"].replace("_", " ")):
            f"{percent(row['value'])} ({low_to_high(row['low'], row['high'])})" for row in facts["scores"]}
