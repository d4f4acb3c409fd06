"""The pipeline ``predict``; see pipeline.py."""

from dg_project.pipelines.predict.pipeline import create_pipeline

__all__ = ["create_pipeline"]
