"""Models and manifests -> predictions, results. The only place where target images are scored."""

from __future__ import annotations

from kedro.pipeline import Node, Pipeline

from dg_project.pipelines.evaluation import nodes

_IMAGES = ["source_manifest", "target_manifest", "params:data", "params:evaluation", "params:training.device",
           "params:ldm"]
_SCORING = ["source_manifest", "target_manifest", "params:data", "params:evaluation", "params:run_id"]


def create_pipeline() -> Pipeline:
    """Return the evaluation of the method beside the baseline."""
    return Pipeline([
        _predict("baseline_model", "baseline_predictions"),
        _predict("model", "model_predictions"),
        Node(nodes.score_with_baseline,
             ["model", "model_predictions", "baseline_model", "baseline_predictions", *_SCORING],
             ["predictions", "results", "class_scores", "scores"], name="score"),
    ], namespace="evaluation", prefix_datasets_with_namespace=False)


def create_erm_pipeline() -> Pipeline:
    """Return the evaluation of one model by itself."""
    return Pipeline([
        _predict("model", "model_predictions"),
        Node(nodes.score_model, ["model", "model_predictions", *_SCORING],
             ["predictions", "results", "class_scores", "scores"], name="score"),
    ], namespace="evaluation", prefix_datasets_with_namespace=False)


def create_target_oracle_pipeline() -> Pipeline:
    """Score the weights of every validation on the targets; train with ``training.keep_validated=true`` before it."""
    return Pipeline([
        Node(nodes.score_validated, ["model", *_IMAGES, "params:run_id"],
             ["oracle_steps", "oracle_results", "oracle_scores"], name="score_validated", tags="gpu"),
    ], namespace="evaluation", prefix_datasets_with_namespace=False)


def _predict(model: str, predictions: str) -> Node:
    return Node(nodes.predict, [model, *_IMAGES], predictions, name=f"predict_{model}", tags="gpu")
