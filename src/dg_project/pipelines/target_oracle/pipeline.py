"""A model with the weights of all its validations -> what choosing by target scores would have given. Never a model."""

from __future__ import annotations

from kedro.pipeline import Node, Pipeline

from dg_project.pipelines.target_oracle import nodes


def create_pipeline() -> Pipeline:
    """Return the look back; train with ``training.keep_validated=true`` before it."""
    return Pipeline([
        Node(nodes.score_validated,
             ["model", "source_manifest", "target_manifest", "params:data", "params:evaluation",
              "params:training.device", "params:ldm", "params:run_id"],
             ["oracle_steps", "oracle_results", "oracle_scores"], name="score_validated", tags="gpu"),
    ], namespace="target_oracle", prefix_datasets_with_namespace=False)
