"""ERM, and ERM that also trains on labelled target images -> how much is there to win at all?

Nothing else reads what this pipeline trains: an oracle is no method, and no other pipeline opens these labels.
"""

from __future__ import annotations

from kedro.pipeline import Node, Pipeline

from dg_project.pipelines.facts import facts_node
from dg_project.pipelines.headroom import nodes


def create_pipeline() -> Pipeline:
    """Train and score ERM and ``oracle_target`` with the seeds of ``benchmark.seeds``."""
    return Pipeline([
        Node(nodes.ingest_oracle, ["target_manifest", "params:settings"], "oracle_manifest", name="ingest_oracle"),
        Node(nodes.train_oracles, ["source_manifest", "oracle_manifest", "params:settings"], "headroom_models",
             name="train_oracles", tags=["gpu", "trains.erm"]),
        Node(nodes.score_oracles,
             ["headroom_models", "source_manifest", "target_manifest", "params:settings", "params:run_id"],
             "headroom_records", name="score_oracles", tags="gpu"),
        facts_node("benchmark", "headroom"),
        Node(nodes.make_table, ["headroom_records", "params:settings"], "headroom_table", name="make_table"),
    ], namespace="headroom", prefix_datasets_with_namespace=False)
