"""The pipeline ``leave_one_out``; see pipeline.py."""

from dg_project.pipelines.leave_one_out.pipeline import create_pipeline

__all__ = ["create_pipeline"]
