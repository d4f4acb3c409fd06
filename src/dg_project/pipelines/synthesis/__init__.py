"""The pipeline ``synthesis``; see pipeline.py."""

from dg_project.pipelines.synthesis.pipeline import create_pipeline

__all__ = ["create_pipeline"]
