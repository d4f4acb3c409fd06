"""Check that a trained model, its source, its predictions, results and history belong together."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from dg_project.config import Settings
from dg_project.core.errors import DataError
from dg_project.core.files import folder_hash
from dg_project.data.manifest import manifest_fingerprint
from dg_project.data.origin import AGAIN
from dg_project.evaluation.records import AND, UNSEEN_MEAN
from dg_project.methods.model_folder import read_card

MODEL, IMAGES = "model", "images"
"""Entries of a prediction table's ``attrs``: hash of the model folder, fingerprint of the predicted images."""
TRAIN_AGAIN = "train again with `kedro run --pipeline=training`"
SCORE_AGAIN = "run `kedro run --pipeline=evaluation` again"
SAMPLE_AGAIN = "run `kedro run --pipeline=sampling` again"
COMPARED = ("source", "seed", "max_steps", "images_per_step")
"""Facts of a training that must be equal in models that one table compares."""


def check_source(source: pd.DataFrame, name: str, who: str) -> None:
    """Check that a manifest is that of the source domain (or domains, joined by ``+``) of this name.

    Raises:
        DataError: it was ingested for another source.
    """
    found = list(dict.fromkeys(source["domain"]))
    if found != [name] and sorted(found) != sorted(name.split(AND)):
        raise DataError(f"{who} has the source '{name}', but the newest source_manifest was ingested for "
                        f"'{AND.join(found)}': set data.source and {AGAIN}")


def check_sampled(pseudo: pd.DataFrame, settings: Settings) -> None:
    """Check that pseudo images are sampled candidates of domains that the parameters name.

    Raises:
        DataError: they are a synthetic set of DomainFusion, or of other domains.
    """
    if "candidates" not in pseudo:
        raise DataError("the newest pseudo images are the last synthetic set of `kedro run --pipeline=domainfusion`, "
                        f"which no other method trains on: {SAMPLE_AGAIN} (it finds its work in the workspace)")
    if other := [name for name in dict.fromkeys(pseudo["domain"]) if name not in settings.synthesis.domains]:
        raise DataError(f"the newest pseudo images have the domain '{other[0]}', which synthesis.domains "
                        f"({', '.join(settings.synthesis.domains)}) does not name: run "
                        "`kedro run --pipeline=synthesis` and `kedro run --pipeline=sampling` again, or name it there")


def mark_predictions(predictions: pd.DataFrame, model: Path, images: pd.DataFrame) -> pd.DataFrame:
    """Return predictions that say which model made them, of which images."""
    predictions.attrs |= {MODEL: folder_hash(model), IMAGES: manifest_fingerprint(images)}
    return predictions


def check_predictions(predictions: pd.DataFrame, images: pd.DataFrame, model: Path | None = None) -> None:
    """Check that predictions are of these images, and by this model if one is named.

    Predictions of earlier versions are not marked; they are not compared.

    Raises:
        DataError: they are of other images, or by another model.
    """
    if predictions.attrs.get(IMAGES, "") not in ("", manifest_fingerprint(images)):
        raise DataError("the newest predictions are of other images or labels than those in source_manifest and "
                        f"target_manifest (or evaluation.max_images changed): {SCORE_AGAIN}")
    if model is not None and predictions.attrs.get(MODEL, "") not in ("", folder_hash(model)):
        raise DataError(f"the newest predictions are not by the model in '{model}': {SCORE_AGAIN}")


def check_comparable(models: Mapping[str, Path]) -> None:
    """Check that models that one table compares had the same task, classes, source, seed and budget.

    Args:
        models: artifact name -> model folder.

    Raises:
        DataError: two of them differ.
    """
    facts = {name: _facts(model) for name, model in models.items()}
    (first, known), *others = facts.items()
    for name, found in others:
        for key in known:
            if known[key] != found[key]:
                raise DataError(f"the newest {name} and {first} are not comparable, {key} is {found[key]} and "
                                f"{known[key]}: {TRAIN_AGAIN}, which trains all of them alike")


def check_results(results: pd.DataFrame, *models: Path) -> None:
    """Check that the results have rows of exactly these trained models.

    Raises:
        DataError: a model has no row, or was trained again since.
    """
    for model in models:
        spec, facts = read_card(model)
        rows = results[results["method"] == facts.get("label", spec.method)]
        if rows.empty or not _same_training(rows.iloc[0], facts):
            raise DataError(f"the newest results are not of the model '{spec.method}' in '{model}', which was trained "
                            f"{'later' if len(rows) else 'as another method'}: {SCORE_AGAIN}")


def check_card(card: Mapping[str, Any], results: pd.DataFrame) -> None:
    """Check that a data card counts the test images of all domains of the results.

    Raises:
        DataError: it has no test images of a domain.
    """
    counted = {entry["domain"] for entry in card["splits"] if entry["split"] == "test"}
    if other := [name for name in dict.fromkeys(results["domain"]) if name not in {*counted, UNSEEN_MEAN}]:
        raise DataError(f"the newest data_card has no test images of '{other[0]}', which the newest results score: "
                        f"{AGAIN}, and then {SCORE_AGAIN}")


def check_cell(model: Path, method: str, settings: Settings) -> None:
    """Check that a cell's model was trained as the present parameters say.

    Args:
        model: model folder.
        method: method name of the cell.
        settings: settings of the cell.

    Raises:
        DataError: method, task, classes, source, seed or budget differ.
    """
    expected = {"method": method, "task": settings.task, "classes": settings.classes, "source": settings.data.source,
                "seed": settings.seed, "max_steps": settings.training.max_steps,
                "images_per_step": settings.training.images_per_step}
    found = _facts(model) | {"method": read_card(model)[0].method}
    for key, value in expected.items():
        if found[key] not in (value, None):
            raise DataError(f"the model in '{model}' was trained with {key} {found[key]}, but the parameters say "
                            f"{value}: run the whole pipeline again, without --from-nodes (it finds finished cells)")


def check_history(history: pd.DataFrame, name: str, steps: int) -> None:
    """Check that a history is that of a training of the results: its method and number of steps.

    Raises:
        DataError: it is of another training.
    """
    if history.attrs.get("method", name) != name or len(history) != steps:
        raise DataError(f"the newest history of '{name}' is of another training ({len(history)} steps of "
                        f"'{history.attrs.get('method', name)}', the results say {steps}): {TRAIN_AGAIN} and then "
                        f"{SCORE_AGAIN}")


def _facts(model: Path) -> dict[str, Any]:
    spec, facts = read_card(model)
    return {"task": spec.task, "classes": spec.classes, **{key: facts.get(key) for key in COMPARED}}


def _same_training(row: pd.Series, facts: Mapping[str, Any]) -> bool:
    # The time per step is written with all its digits, so two trainings hardly ever share it.
    return (row["source"] == facts["source"] and int(row["seed"]) == facts["seed"]
            and math.isclose(row["seconds_per_step"], facts["seconds_per_step"], rel_tol=1e-9))
