"""DomainFusion beside ERM, both scored in unseen weather: ``kedro run --pipeline=domainfusion``.

Classification has the latent distillation: ``--params task=classification``; other tasks get its augmentation.
"""

from __future__ import annotations

from kedro.pipeline import Node, Pipeline

from dg_project.pipelines import evaluation, ingestion, reporting
from dg_project.pipelines.domainfusion import nodes
from dg_project.pipelines.training.nodes import train_baseline


def create_pipeline() -> Pipeline:
    """Return all stages; the pseudo images are the last of the synthetic sets."""
    training = Pipeline([
        Node(train_baseline, ["source_manifest", "parameters"], ["baseline_model", "baseline_history"],
             name="train_baseline"),
        Node(nodes.train_domainfusion, ["source_manifest", "params:ldm", "params:synthesis", "parameters"],
             ["model", "history", "synthetic_sets", "pseudo_images", "pseudo_manifest"], name="train_domainfusion"),
    ], namespace="training", tags="gpu", prefix_datasets_with_namespace=False)
    return ingestion.create_pipeline() + training + evaluation.create_pipeline() + reporting.create_pipeline()
