"""The pipeline ``diga``; see pipeline.py."""

from dg_project.pipelines.diga.pipeline import create_pipeline

__all__ = ["create_pipeline"]
