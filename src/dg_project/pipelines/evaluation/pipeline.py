"""Models and manifests -> predictions, results. Target images are scored only here."""

from __future__ import annotations

from kedro.pipeline import Node, Pipeline

from dg_project.pipelines.evaluation import nodes

_IMAGES = ["source_manifest", "target_manifest", "params:data", "params:evaluation", "params:training.device",
           "params:ldm"]
_SCORING = {"source": "source_manifest", "target": "target_manifest", "data": "params:data",
            "evaluation": "params:evaluation", "run_id": "params:run_id", "model": "model",
            "model_predictions": "model_predictions"}


def create_pipeline(*others: str) -> Pipeline:
    """Score the method.

    Args:
        others: prefixes of the models that it is compared with: ``baseline``, ``naive``.
    """
    theirs = {f"{name}_{what}": f"{name}_{what}" for name in others for what in ("model", "predictions")}
    return Pipeline([
        *(_predict(f"{name}_model", f"{name}_predictions") for name in others),
        _predict("model", "model_predictions"),
        Node(nodes.score, _SCORING | theirs, ["predictions", "results", "class_scores", "scores"], name="score"),
    ], namespace="evaluation", prefix_datasets_with_namespace=False)


def create_target_oracle_pipeline() -> Pipeline:
    """Score the weights of every validation on the targets; train with ``training.keep_validated=true`` before it."""
    return Pipeline([
        Node(nodes.score_validated, ["model", *_IMAGES, "params:run_id"],
             ["oracle_steps", "oracle_results", "oracle_scores"], name="score_validated", tags="gpu"),
    ], namespace="evaluation", prefix_datasets_with_namespace=False)


def _predict(model: str, predictions: str) -> Node:
    return Node(nodes.predict, [model, *_IMAGES], predictions, name=f"predict_{model}", tags="gpu")
