"""Manifests and pseudo images -> model, history, and the same of the baseline."""

from __future__ import annotations

from kedro.pipeline import Node, Pipeline

from dg_project.pipelines.training import nodes

_MODEL = ["model", "history"]
_BASELINE = ["baseline_model", "baseline_history"]
_PSEUDO = ["source_manifest", "pseudo_images", "pseudo_manifest"]


def create_pipeline() -> Pipeline:
    """Train ``params:method`` and the baseline that it is compared with."""
    return _training(_baseline(), _method())


def create_method_pipeline() -> Pipeline:
    """Train ``params:method`` alone."""
    return _training(_method())


def create_erm_pipeline() -> Pipeline:
    """Train ERM as the model itself, without pseudo domains."""
    return _training(Node(nodes.train_baseline, ["source_manifest", "parameters"], _MODEL, name="train_erm"))


def create_source_pipeline() -> Pipeline:
    """Train ``params:method`` and the baseline on the source alone."""
    return _training(_baseline(), Node(nodes.train_source_method, ["source_manifest", "parameters"], _MODEL,
                                       name="train_method"))


def create_uda_pipeline() -> Pipeline:
    """Train ``params:uda.method`` and ``params:uda.baseline``, both with unlabelled target images."""
    inputs = [*_PSEUDO, "adapt_manifest", "parameters"]
    return _training(Node(nodes.train_adapting_baseline, inputs, _BASELINE, name="train_baseline"),
                     Node(nodes.train_adapting_method, inputs, _MODEL, name="train_method"))


def create_domainfusion_pipeline() -> Pipeline:
    """Train DomainFusion and the baseline; the pseudo images are its last synthetic set."""
    return _training(_baseline(), Node(nodes.train_domainfusion, ["source_manifest", "parameters"],
                                       [*_MODEL, "synthetic_sets", "pseudo_images", "pseudo_manifest"],
                                       name="train_domainfusion"))


def create_closed_loop_pipeline() -> Pipeline:
    """Train ``params:method`` in the closed loop, and in the open loop as the baseline."""
    rounds = ["closed_loop_rounds", "closed_loop_manifest", "allocation"]
    loop = Node(nodes.train_in_rounds, ["source_manifest", "parameters"], [*_MODEL, *rounds], name="train_in_rounds")
    return _training(loop) + Pipeline(create_method_pipeline(), outputs=dict(zip(_MODEL, _BASELINE, strict=True)))


def _training(*trainings: Node) -> Pipeline:
    return Pipeline(trainings, namespace="training", tags="gpu", prefix_datasets_with_namespace=False)


def _baseline() -> Node:
    return Node(nodes.train_baseline, ["source_manifest", "parameters"], _BASELINE, name="train_baseline")


def _method() -> Node:
    return Node(nodes.train_method, [*_PSEUDO, "parameters"], _MODEL, name="train_method")
