"""Unsupervised domain adaptation: unlabelled target images join the training, ``kedro run --pipeline=uda``.

``params:uda`` names the method and what it is compared with. Both are scored as every other method, on test images that
no training saw, and their results say ``UDA`` in the column ``setting``.
"""

from __future__ import annotations

from kedro.pipeline import Pipeline

from dg_project.pipelines import evaluation, ingestion, reporting, sampling, synthesis, training


def create_pipeline(*figures: str) -> Pipeline:
    """Return all stages, in the order that data flows; ``figures`` are further ones that the report shows."""
    return (ingestion.create_pipeline() + ingestion.create_adapt_pipeline(always=True) + synthesis.create_pipeline()
            + sampling.create_pipeline() + training.create_uda_pipeline() + evaluation.create_pipeline()
            + reporting.create_pipeline(*figures))
