"""Methods x seeds -> one table. Pseudo domains are made once and shared; every cell is kept in the workspace."""

from __future__ import annotations

from kedro.pipeline import Node, Pipeline

from dg_project.pipelines import ingestion, sampling, synthesis
from dg_project.pipelines.benchmark import nodes


def create_pipeline() -> Pipeline:
    """Return the whole benchmark; stopped at any moment, the same command goes on."""
    cells = Pipeline([
        Node(nodes.train_cells, ["source_manifest", "pseudo_images", "pseudo_manifest", "adapt_manifest", "parameters"],
             "benchmark_models", name="train_cells"),
        Node(nodes.score_cells,
             ["benchmark_models", "source_manifest", "target_manifest", "parameters", "params:run_id"],
             ["benchmark_records", "benchmark_scores"], name="score_cells"),
        Node(nodes.make_table, ["benchmark_records", "params:task", "params:benchmark"], "benchmark_table",
             name="make_table"),
        Node(nodes.draw_chart, ["benchmark_records", "params:task", "params:benchmark"], "benchmark_chart",
             name="draw_chart"),
    ], namespace="benchmark", prefix_datasets_with_namespace=False)
    return (ingestion.create_pipeline() + ingestion.create_adapt_pipeline() + synthesis.create_pipeline()
            + sampling.create_pipeline() + cells)
