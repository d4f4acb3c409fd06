"""The pipeline ``benchmark``; see pipeline.py."""

from dg_project.pipelines.benchmark.pipeline import create_pipeline

__all__ = ["create_pipeline"]
