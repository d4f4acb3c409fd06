"""source_manifest, pseudo_images, pseudo_manifest -> model, history; beside it the ERM baseline."""

from __future__ import annotations

from kedro.pipeline import Node, Pipeline

from dg_project.pipelines.training import nodes


def create_pipeline() -> Pipeline:
    """Return the training of ``params:method`` and of the baseline that it is compared with."""
    return Pipeline([_baseline(), _method()], namespace="training", tags="gpu", prefix_datasets_with_namespace=False)


def create_method_pipeline() -> Pipeline:
    """Return the training of ``params:method`` alone."""
    return Pipeline([_method()], namespace="training", tags="gpu", prefix_datasets_with_namespace=False)


def create_erm_pipeline() -> Pipeline:
    """Return the training of ERM as the model itself; it needs no pseudo domains."""
    erm = Node(nodes.train_baseline, ["source_manifest", "parameters"], ["model", "history"], name="train_erm")
    return Pipeline([erm], namespace="training", tags="gpu", prefix_datasets_with_namespace=False)


def create_source_pipeline() -> Pipeline:
    """Return the training of ``params:method`` beside the baseline, both on the source alone."""
    method = Node(nodes.train_source_method, ["source_manifest", "parameters"], ["model", "history"],
                  name="train_method")
    return Pipeline([_baseline(), method], namespace="training", tags="gpu", prefix_datasets_with_namespace=False)


def create_uda_pipeline() -> Pipeline:
    """Return the training of ``params:uda.method`` and ``params:uda.baseline``, both with unlabelled target images."""
    inputs = ["source_manifest", "pseudo_images", "pseudo_manifest", "adapt_manifest", "parameters"]
    return Pipeline([
        Node(nodes.train_adapting_baseline, inputs, ["baseline_model", "baseline_history"], name="train_baseline"),
        Node(nodes.train_adapting_method, inputs, ["model", "history"], name="train_method"),
    ], namespace="training", tags="gpu", prefix_datasets_with_namespace=False)


def _baseline() -> Node:
    return Node(nodes.train_baseline, ["source_manifest", "parameters"], ["baseline_model", "baseline_history"],
                name="train_baseline")


def _method() -> Node:
    return Node(nodes.train_method, ["source_manifest", "pseudo_images", "pseudo_manifest", "parameters"],
                ["model", "history"], name="train_method")
