"""The pipeline ``reporting``; see pipeline.py."""

from dg_project.pipelines.reporting.pipeline import create_erm_pipeline, create_pipeline, create_source_pipeline

__all__ = ["create_erm_pipeline", "create_pipeline", "create_source_pipeline"]
