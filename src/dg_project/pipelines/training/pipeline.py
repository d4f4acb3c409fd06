"""Manifests and pseudo images -> model, history, and the same of the baselines."""

from __future__ import annotations

from kedro.pipeline import Node, Pipeline

from dg_project.pipelines.training import nodes
from dg_project.pipelines.trainings import IN_ROUNDS

_MODEL = ["model", "history"]
_BASELINE = ["baseline_model", "baseline_history"]
_SOURCE = ["params:settings", "source_manifest"]
_PSEUDO = [*_SOURCE, "pseudo_images", "pseudo_manifest"]
_ADAPT = [*_PSEUDO, "adapt_manifest"]


def create_pipeline() -> Pipeline:
    """Train ``params:method`` and the two baselines that it is compared with: ERM and naive mixing."""
    naive = Node(nodes.train_naive, _PSEUDO, ["naive_model", "naive_history"], name="train_naive", tags="trains.naive")
    return _training(_baseline(), naive, _method())


def create_method_pipeline() -> Pipeline:
    """Train ``params:method`` alone."""
    return _training(_method())


def create_erm_pipeline() -> Pipeline:
    """Train ERM as the model itself, without pseudo domains."""
    return _training(Node(nodes.train_baseline, _SOURCE, _MODEL, name="train_erm", tags="trains.erm"))


def create_source_pipeline() -> Pipeline:
    """Train ``params:method`` and the baseline on the source alone."""
    return _training(_baseline(), Node(nodes.train_method, ["params:method", *_SOURCE], _MODEL, name="train_method",
                                       tags="trains.method"))


def create_uda_pipeline() -> Pipeline:
    """Train ``params:uda.method`` and ``params:uda.baseline``, both with unlabelled target images."""
    return _training(
        Node(nodes.train_method, ["params:uda.baseline", *_ADAPT], _BASELINE, name="train_baseline",
             tags="trains.uda.baseline"),
        Node(nodes.train_method, ["params:uda.method", *_ADAPT], _MODEL, name="train_method", tags="trains.uda.method"))


def create_domainfusion_pipeline() -> Pipeline:
    """Train DomainFusion and the baseline; the pseudo images are its last synthetic set."""
    outputs = [*_MODEL, "synthetic_sets", "pseudo_images", "pseudo_manifest"]
    return _training(_baseline(), Node(nodes.train_domainfusion, _SOURCE, outputs, name="train_domainfusion",
                                       tags="trains.domainfusion"))


def create_closed_loop_pipeline() -> Pipeline:
    """Train ``params:method`` in the closed loop, and in the open loop as the baseline."""
    outputs = [*_MODEL, "closed_loop_rounds", "closed_loop_manifest", "allocation"]
    loop = Node(nodes.train_in_rounds, ["params:method", *_SOURCE], outputs, name="train_in_rounds",
                tags=["trains.method", IN_ROUNDS])
    return _training(loop) + Pipeline(create_method_pipeline(), outputs=dict(zip(_MODEL, _BASELINE, strict=True)))


def _training(*trainings: Node) -> Pipeline:
    return Pipeline(trainings, namespace="training", tags="gpu", prefix_datasets_with_namespace=False)


def _baseline() -> Node:
    return Node(nodes.train_baseline, _SOURCE, _BASELINE, name="train_baseline", tags="trains.erm")


def _method() -> Node:
    return Node(nodes.train_method, ["params:method", *_PSEUDO], _MODEL, name="train_method", tags="trains.method")
