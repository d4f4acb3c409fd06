"""A captioned corpus -> trained_ldm, a diffusers pipeline folder with its model card."""

from __future__ import annotations

from kedro.pipeline import Node, Pipeline

from dg_project.pipelines.pretrain_ldm import nodes


def create_pipeline() -> Pipeline:
    """Return the training of the embedded diffusion model."""
    return Pipeline([
        Node(nodes.train_oracle, "parameters", "oracle_model", name="train_oracle", tags="gpu"),
        Node(nodes.train_ldm, ["params:pretrain_ldm", "oracle_model", "params:workspace"],
             ["trained_ldm", "ldm_history"], name="train_ldm", tags="gpu"),
    ], namespace="pretrain_ldm", prefix_datasets_with_namespace=False)
