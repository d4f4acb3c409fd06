"""Models, predictions, results and pseudo images of different runs are told, with the command that helps."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from run_settings import settings
from streets_fixture import CLASSES, SOURCE

from dg_project.core.errors import DataError
from dg_project.data.origin import check_pairs
from dg_project.experiments import origin
from dg_project.methods import method_class
from dg_project.methods.model_folder import CARD, ModelSpec


def model(folder: Path, **facts: Any) -> Path:
    """A model folder without weights, as the checks read it."""
    folder.mkdir(parents=True)
    spec = ModelSpec.of(method_class("erm"), settings(data__classes=CLASSES), [SOURCE])
    meta = {"source": SOURCE, "seed": 0, "max_steps": 6, "images_per_step": 4, "seconds_per_step": 0.123456789} | facts
    (folder / CARD).write_text(json.dumps({"spec": spec.model_dump(mode="json"), "meta": meta}))
    return folder


def results(**changes: Any) -> pd.DataFrame:
    row = {"method": "erm", "source": SOURCE, "seed": 0, "seconds_per_step": 0.123456789, "domain": SOURCE}
    return pd.DataFrame([row | changes])


def test_source_of_another_run(tiny_manifest: pd.DataFrame) -> None:
    source = tiny_manifest[tiny_manifest["role"] == "source"]
    origin.check_source(source, SOURCE, "this run")
    two = pd.concat([source.assign(domain="b"), source.assign(domain="a")])
    origin.check_source(two, "a+b", "this run")
    origin.check_source(source.assign(domain="a+b"), "a+b", "this run")
    with pytest.raises(DataError, match=r"this run has the source 'night', but .* was ingested for .*ingestion`"):
        origin.check_source(source, "night", "this run")


def test_pseudo_images_of_another_pipeline(tiny_pseudo: tuple[Path, pd.DataFrame]) -> None:
    sampled = tiny_pseudo[1].assign(candidates=1)
    origin.check_sampled(sampled, settings())
    with pytest.raises(DataError, match=r"domainfusion`, which no other method trains on: run .*sampling` again"):
        origin.check_sampled(sampled.drop(columns="candidates"), settings())
    with pytest.raises(DataError, match=r"the domain 'snow', which synthesis\.domains .* does not name"):
        origin.check_sampled(sampled.assign(domain="snow"), settings())


def test_pseudo_images_without_source_image(tiny_pseudo: tuple[Path, pd.DataFrame],
                                            tiny_manifest: pd.DataFrame) -> None:
    gone = tiny_pseudo[1].loc[0, "source_image_id"]
    with pytest.raises(DataError, match=rf"'{gone}', which is not in the newest source_manifest: run .*synthesis`"):
        check_pairs(tiny_pseudo[1], tiny_manifest[tiny_manifest["image_id"] != gone])


def test_predictions_of_other_images_or_models(tmp_path: Path, tiny_manifest: pd.DataFrame) -> None:
    first, second = model(tmp_path / "first"), model(tmp_path / "second", seed=1)
    stored = tmp_path / "predictions.parquet"
    origin.mark_predictions(tiny_manifest[["domain", "image_id"]].copy(), first, tiny_manifest).to_parquet(stored)
    predictions = pd.read_parquet(stored)
    origin.check_predictions(predictions, tiny_manifest, first)
    origin.check_predictions(tiny_manifest[["domain", "image_id"]], tiny_manifest, second)  # written before
    with pytest.raises(DataError, match=r"not by the model in '.*second': run `kedro run --pipeline=evaluation`"):
        origin.check_predictions(predictions, tiny_manifest, second)
    relabelled = tiny_manifest.assign(labels=[[1] * len(row) for row in tiny_manifest["labels"]])
    with pytest.raises(DataError, match="of other images or labels"):
        origin.check_predictions(predictions, relabelled, first)


@pytest.mark.parametrize("change", [{"seed": 1}, {"max_steps": 7}, {"source": "night"}, {"images_per_step": 2}])
def test_models_that_are_not_comparable(tmp_path: Path, change: dict[str, Any]) -> None:
    models = {"model": model(tmp_path / "model"), "baseline_model": model(tmp_path / "baseline")}
    origin.check_comparable(models)
    with pytest.raises(DataError, match=rf"naive_model and model are not comparable, {next(iter(change))} is .*"
                                        "training`"):
        origin.check_comparable(models | {"naive_model": model(tmp_path / "naive", **change)})


def test_results_of_another_training(tmp_path: Path) -> None:
    folder = model(tmp_path / "model")
    origin.check_results(results(), folder)
    for other in ({"seed": 1}, {"seconds_per_step": 0.123456788}, {"method": "drsf"}):
        with pytest.raises(DataError, match="the newest results are not of the model 'erm'"):
            origin.check_results(results(**other), folder)
    card = {"splits": [{"domain": SOURCE, "split": "test"}]}
    origin.check_card(card, results())
    with pytest.raises(DataError, match="no test images of 'night'"):
        origin.check_card(card, results(domain="night"))


def test_history_of_another_training() -> None:
    history = pd.DataFrame({"loss": [1.0, 0.5]})
    origin.check_history(history, "erm", 2)
    with pytest.raises(DataError, match=r"2 steps of 'erm', the results say 6"):
        origin.check_history(history, "erm", 6)
    history.attrs["method"] = "drsf"
    with pytest.raises(DataError, match=r"2 steps of 'drsf'"):
        origin.check_history(history, "erm", 2)


def test_cell_of_other_parameters(tmp_path: Path) -> None:
    folder, chosen = model(tmp_path / "model"), settings(data__classes=CLASSES)
    origin.check_cell(folder, "erm", chosen)
    with pytest.raises(DataError, match="was trained with seed 0, but the parameters say 1"):
        origin.check_cell(folder, "erm", settings(data__classes=CLASSES, seed=1))
    with pytest.raises(DataError, match="was trained with method erm, but the parameters say naive"):
        origin.check_cell(folder, "naive", chosen)
