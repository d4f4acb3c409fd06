"""The main run: pseudo domains, a method on them, ERM beside it, both scored in unseen weather.

``kedro run --pipeline=drsf``; another method takes the place of DRSF with ``--params method=naive``.
"""

from __future__ import annotations

from kedro.pipeline import Pipeline

from dg_project.pipelines import evaluation, ingestion, reporting, sampling, synthesis, training


def create_pipeline() -> Pipeline:
    """Return all stages, in the order that data flows."""
    return (ingestion.create_pipeline() + synthesis.create_pipeline() + sampling.create_pipeline()
            + training.create_pipeline() + evaluation.create_pipeline() + reporting.create_pipeline())
