"""The pipeline ``regime``; see pipeline.py."""

from dg_project.pipelines.regime.pipeline import create_pipeline

__all__ = ["create_pipeline"]
