"""model, predict.input -> predicted, predicted_summary."""

from __future__ import annotations

from kedro.pipeline import Node, Pipeline

from dg_project.pipelines.predict import nodes


def create_pipeline() -> Pipeline:
    """Predict a folder, a list or a video with a trained model."""
    return Pipeline([
        Node(nodes.predict_input,
             ["model", "params:predict", "params:workspace", "params:training.device", "params:ldm"],
             ["predicted", "predicted_summary"], name="predict_input", tags="gpu"),
    ], namespace="predict", prefix_datasets_with_namespace=False)
