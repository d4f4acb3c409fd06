"""The pipeline ``export``; see pipeline.py."""

from dg_project.pipelines.export.pipeline import create_pipeline

__all__ = ["create_pipeline"]
