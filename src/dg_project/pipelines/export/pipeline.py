"""model, test images of the source -> export, export_card."""

from __future__ import annotations

from kedro.pipeline import Node, Pipeline

from dg_project.pipelines.export import nodes


def create_pipeline() -> Pipeline:
    """Return the export of a trained model, checked against it."""
    return Pipeline([
        Node(nodes.export_model, ["model", "source_manifest", "params:data", "params:export", "params:workspace"],
             ["export", "export_card"], name="export_model"),
    ], namespace="export", prefix_datasets_with_namespace=False)
