"""The pipeline ``headroom``; see pipeline.py."""

from dg_project.pipelines.headroom.pipeline import create_pipeline

__all__ = ["create_pipeline"]
