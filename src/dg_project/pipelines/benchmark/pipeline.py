"""Rows x seeds -> one table. All cells share the pseudo domains; every cell is kept in the workspace."""

from __future__ import annotations

from kedro.pipeline import Node, Pipeline

from dg_project.pipelines.benchmark import nodes
from dg_project.pipelines.facts import facts_node


def create_pipeline(name: str = "benchmark") -> Pipeline:
    """Train and score a grid; after an interruption the same command continues it.

    Args:
        name: ``benchmark`` or ``ablation``, the parameters with the grid's rows and the prefix of its artifacts.
    """
    grid, records = f"params:{name}", f"{name}_records"
    table = [records, "params:task", grid, "params:evaluation"]
    return Pipeline([
        Node(nodes.train_cells,
             ["source_manifest", "pseudo_images", "pseudo_manifest", "adapt_manifest", grid, "params:settings"],
             f"{name}_models", name="train_cells", tags=["gpu", f"trains.{name}"]),
        Node(nodes.score_cells,
             [f"{name}_models", "source_manifest", "target_manifest", grid, "params:settings", "params:run_id"],
             [records, f"{name}_scores"], name="score_cells", tags="gpu"),
        facts_node(name, name),
        Node(nodes.make_table, table, f"{name}_table", name="make_table"),
        Node(nodes.draw_chart, table, f"{name}_chart", name="draw_chart"),
    ], namespace=name, prefix_datasets_with_namespace=False)
