"""The pipelines as graphs: names of the contract, everything in the catalog, targets out of reach of training."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import pytest
import yaml
from kedro.pipeline import Pipeline

from dg_project.pipeline_registry import register_pipelines

PROJECT = Path(__file__).parents[2]
PIPELINES = ["ablation", "benchmark", "closed_loop", "diga", "domainfusion", "drsf", "erm", "evaluation", "export",
             "ingestion", "leave_one_out", "predict", "pretrain_ldm", "pretrain_teacher", "reporting", "sampling", "scmd",
             "synthesis", "target_oracle", "training", "uda"]
CONTRACT = {"results", "pseudo_images", "pseudo_manifest", "model", "predictions", "report"}


@cache
def pipelines() -> dict[str, Pipeline]:
    return {name: pipeline for name, pipeline in register_pipelines().items() if name != "__default__"}


def catalog() -> dict[str, dict]:
    entries: dict[str, dict] = {}
    for path in sorted((PROJECT / "conf" / "base").glob("catalog*.yml")):
        content = {k: v for k, v in yaml.safe_load(path.read_text()).items() if not k.startswith("_")}
        assert not entries.keys() & content.keys(), f"{path.name} repeats an entry"
        entries |= content
    return entries


def ancestors(pipeline: Pipeline, dataset: str) -> set[str]:
    """Everything that ``dataset`` was computed from."""
    upstream = pipeline.to_outputs(dataset)
    return {name for node in upstream.nodes for name in node.inputs}


def test_registry_names_every_pipeline() -> None:
    assert sorted(pipelines()) == PIPELINES
    assert register_pipelines()["__default__"].nodes == pipelines()["drsf"].nodes


@pytest.mark.parametrize("name", PIPELINES)
def test_every_dataset_is_in_the_catalog(name: str) -> None:
    datasets = {d for d in pipelines()[name].datasets() if not d.startswith("params:") and d != "parameters"}
    assert datasets <= catalog().keys()


def test_every_catalog_entry_is_used_versioned_and_says_who_makes_it() -> None:
    outputs = {name: pipeline.all_outputs() for name, pipeline in pipelines().items()}
    for entry, config in catalog().items():
        assert config["versioned"] is True, entry
        assert entry in outputs[config["metadata"]["made_by"]], entry
        assert config["metadata"]["kedro-viz"]["layer"], entry


def test_the_main_run_makes_what_the_contract_names() -> None:
    assert pipelines()["drsf"].all_outputs() >= CONTRACT
    assert pipelines()["erm"].all_outputs() >= CONTRACT - {"pseudo_images", "pseudo_manifest"}


@pytest.mark.parametrize("name", ["drsf", "erm", "benchmark", "ablation", "scmd", "domainfusion", "closed_loop", "uda",
                                  "diga"])
def test_no_target_is_upstream_of_a_model(name: str) -> None:
    pipeline = pipelines()[name]
    models = [d for d in pipeline.all_outputs() if d.endswith(("model", "models", "history"))]
    assert models
    for model in models:
        assert not {d for d in ancestors(pipeline, model) if "target" in d}, model


def test_unlabelled_target_images_are_in_reach_of_adaptation_alone() -> None:
    holders = {name for name, pipeline in pipelines().items() if "adapt_manifest" in pipeline.datasets()}
    assert holders == {"ablation", "benchmark", "diga", "uda"}
    assert "adapt_manifest" not in ancestors(pipelines()["uda"], "pseudo_images")


@pytest.mark.parametrize(("name", "made"), [("drsf", "pseudo_images"), ("domainfusion", "pseudo_images"),
                                            ("closed_loop", "closed_loop_rounds"), ("closed_loop", "allocation")])
def test_no_target_is_upstream_of_a_pseudo_domain(name: str, made: str) -> None:
    assert not {d for d in ancestors(pipelines()[name], made) if "target" in d}


def test_named_sums_need_nothing_but_parameters() -> None:
    for name in ("drsf", "erm", "benchmark", "ablation", "closed_loop", "uda", "pretrain_ldm", "ingestion", "scmd",
                 "leave_one_out", "pretrain_teacher", "domainfusion", "diga"):
        assert all(d.startswith("params:") or d == "parameters" for d in pipelines()[name].inputs()), name


def test_the_layers_of_the_catalog_have_no_cycle() -> None:
    """Kedro-Viz hides all layers when data flows back into an earlier one."""
    layers = {entry: config["metadata"]["kedro-viz"]["layer"] for entry, config in catalog().items()}
    arrows = {(layers[a], layers[b]) for pipeline in pipelines().values() for node in pipeline.nodes
              for a in node.inputs for b in node.outputs if a in layers}
    order: list[str] = []
    waiting = set(layers.values())
    while waiting:
        free = {b for b in waiting if not any(a in waiting and a != b for a, to in arrows if to == b)}
        assert free, f"a cycle among {waiting}"
        order += sorted(free)
        waiting -= free


def test_stages_are_collapsible_and_their_data_keep_plain_names() -> None:
    for name in ("ingestion", "synthesis", "sampling", "training", "evaluation", "reporting"):
        pipeline = pipelines()[name]
        assert {node.namespace for node in pipeline.nodes} == {name}
        assert not [d for d in pipeline.datasets() if "." in d and not d.startswith("params:")]


def test_nodes_that_use_the_training_device_are_tagged_for_a_gpu() -> None:
    nodes = {node.name: node for pipeline in pipelines().values() for node in pipeline.nodes}
    on_device = {name for name, node in nodes.items() if "params:training.device" in node.inputs}
    trains = {name for name in nodes if "train_" in name}
    tagged = {name for name, node in nodes.items() if "gpu" in node.tags}
    assert len(on_device) >= 6
    assert len(trains) >= 10
    assert on_device | trains <= tagged
    assert not [name for name in tagged if name.startswith("ingestion.")]
