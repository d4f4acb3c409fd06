"""Image folders of several domains -> one table, with every domain left out in turn.

``kedro run --env=domainbed --pipeline=leave_one_out --params data.root=/data/PACS,method=scmd``
"""

from __future__ import annotations

from kedro.pipeline import Node, Pipeline

from dg_project.pipelines.facts import facts_node
from dg_project.pipelines.leave_one_out import nodes

_TABLE = ["left_out_records", "params:leave_one_out"]


def create_pipeline() -> Pipeline:
    """Train and score every fold; after an interruption the same command continues."""
    return Pipeline([
        Node(nodes.read_domains, "params:settings", ["domains_manifest", "domains_card"], name="read_domains"),
        Node(nodes.draw_contact_sheet, ["domains_manifest", "domains_card", "params:data.root"], "contact_sheet",
             name="draw_contact_sheet"),
        Node(nodes.train_folds, ["domains_manifest", "domains_card", "params:settings"], "left_out_models",
             name="train_folds", tags=["gpu", "trains.leave_one_out"]),
        Node(nodes.score_folds,
             ["left_out_models", "domains_manifest", "domains_card", "params:settings", "params:run_id"],
             ["left_out_folds", "left_out_records", "left_out_scores"], name="score_folds", tags="gpu"),
        facts_node("leave_one_out", "left_out"),
        Node(nodes.make_table, _TABLE, "left_out_table", name="make_table"),
        Node(nodes.draw_chart, _TABLE, "left_out_chart", name="draw_chart"),
    ], namespace="leave_one_out", prefix_datasets_with_namespace=False)
