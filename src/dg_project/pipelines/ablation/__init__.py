"""What each part of a method brings: ``kedro run --pipeline=ablation``, a benchmark whose rows change parameters."""

from __future__ import annotations

from kedro.pipeline import Pipeline

from dg_project.pipelines import benchmark


def create_pipeline() -> Pipeline:
    """Return the grid of ``params:ablation``."""
    return benchmark.create_pipeline("ablation")
