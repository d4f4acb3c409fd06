"""The pipeline ``scmd``; see pipeline.py."""

from dg_project.pipelines.scmd.pipeline import create_pipeline

__all__ = ["create_pipeline"]
