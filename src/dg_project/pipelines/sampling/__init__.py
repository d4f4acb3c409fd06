"""The pipeline ``sampling``; see pipeline.py."""

from dg_project.pipelines.sampling.pipeline import create_pipeline

__all__ = ["create_pipeline"]
