"""model, test images of the source -> export, export_card."""

from __future__ import annotations

from kedro.pipeline import Node, Pipeline

from dg_project.pipelines.export import nodes


def create_pipeline() -> Pipeline:
    """Export a trained model and check the result."""
    return Pipeline([
        Node(nodes.export_model, ["model", "source_manifest", "params:data", "params:export", "params:workspace"],
             ["export", "export_card"], name="export_model"),
    ], namespace="export", prefix_datasets_with_namespace=False)
