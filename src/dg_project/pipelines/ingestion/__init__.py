"""The pipeline ``ingestion``; see pipeline.py."""

from dg_project.pipelines.ingestion.pipeline import create_adapt_pipeline, create_pipeline

__all__ = ["create_adapt_pipeline", "create_pipeline"]
