"""Pseudo images of several qualities x methods x seeds -> when is a generator good enough, and for which method?

After an interruption the same command continues, and several processes may share the cells.
"""

from __future__ import annotations

from kedro.pipeline import Node, Pipeline

from dg_project.pipelines.facts import facts_node
from dg_project.pipelines.regime import nodes


def create_pipeline() -> Pipeline:
    """Train and score every method with every quality, and measure the qualities."""
    return Pipeline([
        Node(nodes.train_qualities, ["source_manifest", "params:settings"], "regime_models", name="train_qualities",
             tags=["gpu", "trains.regime"]),
        Node(nodes.score_qualities,
             ["regime_models", "source_manifest", "target_manifest", "params:settings", "params:run_id"],
             ["regime_records", "regime_scores"], name="score_qualities", tags="gpu"),
        facts_node("regime", "regime"),
        Node(nodes.measure_qualities, ["regime_models", "source_manifest", "params:settings"], "regime_qualities",
             name="measure_qualities", tags="gpu"),
        Node(nodes.make_table, ["regime_records", "regime_qualities", "params:settings"], "regime_table",
             name="make_table"),
        Node(nodes.draw_chart, "regime_table", "regime_chart", name="draw_chart"),
    ], namespace="regime", prefix_datasets_with_namespace=False)
