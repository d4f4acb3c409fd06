"""Plain training on the source, scored in unseen weather: ``kedro run --pipeline=erm``."""

from __future__ import annotations

from kedro.pipeline import Pipeline

from dg_project.pipelines import evaluation, ingestion, reporting, training


def create_pipeline() -> Pipeline:
    """Return the stages that need no diffusion model."""
    return (ingestion.create_pipeline() + training.create_erm_pipeline() + evaluation.create_erm_pipeline()
            + reporting.create_erm_pipeline())
