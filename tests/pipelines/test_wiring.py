"""The pipelines as graphs: contract names, catalog entries, no target upstream of a training."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import pytest
from kedro.config import OmegaConfigLoader
from kedro.io.catalog_config_resolver import CatalogConfigResolver
from kedro.pipeline import Pipeline

from dg_project.pipeline_registry import register_pipelines
from dg_project.pipelines.sums import PRESETS
from dg_project.settings import CONFIG_LOADER_ARGS

PROJECT = Path(__file__).parents[2]
PIPELINES = ["ablation", "benchmark", "calibrate_gate", "closed_loop", "diga", "domainfusion", "drsf", "erm",
             "evaluation", "export", "headroom", "ingestion", "leave_one_out", "predict", "pretrain_folder_ldm",
             "pretrain_ldm", "pretrain_teacher", "regime", "reporting", "sampling", "scmd", "synthesis",
             "target_oracle", "training", "uda"]
CONTRACT = {"results", "pseudo_images", "pseudo_manifest", "model", "predictions", "report"}


@cache
def pipelines() -> dict[str, Pipeline]:
    return {name: pipeline for name, pipeline in register_pipelines().items() if name != "__default__"}


@cache
def catalog() -> dict[str, dict]:
    """The configuration of every dataset of the pipelines that an entry or a factory of the catalog describes."""
    loader = OmegaConfigLoader(conf_source=str(PROJECT / "conf"), env="base", **CONFIG_LOADER_ARGS)
    resolver = CatalogConfigResolver(dict(loader["catalog"]), {}, {"{default}": {"type": "MemoryDataset"}})
    resolved = {name: resolver.config.get(name) or resolver.resolve_pattern(name) for name in datasets()}
    return {name: config for name, config in resolved.items() if config["type"] != "MemoryDataset"}


def datasets() -> set[str]:
    return {name for pipeline in pipelines().values() for name in pipeline.datasets()
            if not name.startswith("params:") and name != "parameters"}


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


def test_datasets_versioned_and_named_by_file() -> None:
    made = {name for pipeline in pipelines().values() for name in pipeline.all_outputs()}
    for entry, config in catalog().items():
        assert config["versioned"] is True, entry
        assert entry in made, entry
        assert Path(config["filepath"]).stem == entry
        assert config["metadata"]["kedro-viz"]["layer"], entry


def test_every_catalog_entry_and_factory_is_used() -> None:
    loader = OmegaConfigLoader(conf_source=str(PROJECT / "conf"), env="base", **CONFIG_LOADER_ARGS)
    entries = {name for name in loader["catalog"] if not name.startswith("_")}
    resolver = CatalogConfigResolver(dict(loader["catalog"]), {}, {"{default}": {"type": "MemoryDataset"}})
    used = {name if name in entries else resolver.match_dataset_pattern(name) for name in datasets()}
    assert used == entries


@pytest.mark.parametrize(("dataset", "kind", "folder", "mlflow"), [
    ("pseudo_manifest", "tables.ParquetDataset", "05_model_input", "reference"),
    ("candidate_manifest", "tables.ParquetDataset", "03_primary", None),
    ("adapt_manifest", "tables.ParquetDataset", "02_intermediate", "reference"),
    ("data_card", "tables.JSONDataset", "02_intermediate", "json"),
    ("model_card", "pages.MarkdownDataset", "08_reporting", "markdown"),
    ("export_card", "tables.JSONDataset", "06_models", "json"),
    ("hardest_images", "pages.FigureDataset", "08_reporting", "figure"),
    ("class_scores", "tables.CSVDataset", "07_model_output", "table"),
    ("teacher_scores", "tables.JSONDataset", "07_model_output", {"kind": "metrics", "prefix": ""}),
    ("teacher_history", "tables.ParquetDataset", "06_models", {"kind": "history", "prefix": "teacher"}),
    ("baseline_history", "tables.ParquetDataset", "06_models",
     {"kind": "history", "prefix": "train", "run": "baseline"}),
    ("naive_model", "model.ModelDataset", "06_models", {"kind": "model", "run": "naive"}),
    ("naive_history", "tables.ParquetDataset", "06_models", {"kind": "history", "prefix": "train", "run": "naive"}),
    ("left_out_models", "model.ModelDataset", "06_models", None),
    ("baseline_predictions", "tables.ParquetDataset", "07_model_output", None),
    ("benchmark_records", "tables.CSVDataset", "07_model_output", "table"),
])
def test_factories_resolve_to_the_right_dataset(dataset: str, kind: str, folder: str, mlflow: object) -> None:
    config = catalog()[dataset]
    assert config["type"] == f"dg_project.datasets.{kind}"
    assert Path(config["filepath"]).parent.name == folder
    assert config["metadata"].get("mlflow") == mlflow


def test_main_run_makes_the_contract() -> None:
    assert pipelines()["drsf"].all_outputs() >= CONTRACT
    assert pipelines()["erm"].all_outputs() >= CONTRACT - {"pseudo_images", "pseudo_manifest"}


@pytest.mark.parametrize("name", ["drsf", "erm", "benchmark", "ablation", "scmd", "domainfusion", "closed_loop", "uda",
                                  "diga", "calibrate_gate"])
def test_no_target_is_upstream_of_a_model(name: str) -> None:
    pipeline = pipelines()[name]
    models = [d for d in pipeline.all_outputs() if d.endswith(("model", "models", "history", "gate_choice"))]
    assert models
    for model in models:
        assert not {d for d in ancestors(pipeline, model) if "target" in d}, model


def test_adapt_manifest_only_in_uda_and_grids() -> None:
    holders = {name for name, pipeline in pipelines().items() if "adapt_manifest" in pipeline.datasets()}
    assert holders == {"ablation", "benchmark", "diga", "uda"}
    assert "adapt_manifest" not in ancestors(pipelines()["uda"], "pseudo_images")


@pytest.mark.parametrize(("name", "made"), [("drsf", "pseudo_images"), ("domainfusion", "pseudo_images"),
                                            ("closed_loop", "closed_loop_rounds"), ("closed_loop", "allocation")])
def test_no_target_is_upstream_of_a_pseudo_domain(name: str, made: str) -> None:
    assert not {d for d in ancestors(pipelines()[name], made) if "target" in d}


def test_sums_need_only_parameters() -> None:
    for name in ("drsf", "erm", "benchmark", "ablation", "closed_loop", "uda", "pretrain_ldm", "ingestion", "scmd",
                 "leave_one_out", "pretrain_folder_ldm", "pretrain_teacher", "domainfusion", "diga"):
        assert all(d.startswith("params:") or d == "parameters" for d in pipelines()[name].inputs()), name


def test_catalog_layers_have_no_cycle() -> None:
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


def test_stage_namespaces_and_plain_dataset_names() -> None:
    for name in ("ingestion", "synthesis", "sampling", "training", "evaluation", "reporting"):
        pipeline = pipelines()[name]
        assert {node.namespace for node in pipeline.nodes} == {name}
        assert not [d for d in pipeline.datasets() if "." in d and not d.startswith("params:")]


def test_gpu_tags() -> None:
    nodes = {node.name: node for pipeline in pipelines().values() for node in pipeline.nodes}
    on_device = {name for name, node in nodes.items() if "params:training.device" in node.inputs}
    trains = {name for name in nodes if "train_" in name}
    tagged = {name for name, node in nodes.items() if "gpu" in node.tags}
    assert len(on_device) >= 6
    assert len(trains) >= 10
    assert on_device | trains <= tagged
    assert not [name for name in tagged if name.startswith("ingestion.")]


def test_trains_tags_stand_on_every_node_that_trains() -> None:
    tagged = {node.name for pipeline in pipelines().values() for node in pipeline.nodes
              if any(tag.startswith("trains.") for tag in node.tags)}
    made = {node.name for pipeline in pipelines().values() for node in pipeline.nodes
            if not node.name.startswith("pretrain_") and any(d.endswith(("model", "models")) for d in node.outputs)}
    assert tagged == made
    assert len(tagged) >= 7


def test_presets_belong_to_pipelines() -> None:
    assert PRESETS.keys() <= pipelines().keys()
