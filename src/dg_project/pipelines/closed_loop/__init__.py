"""The closed loop beside the open one: ``kedro run --pipeline=closed_loop``; see pipeline.py."""

from dg_project.pipelines.closed_loop.pipeline import create_pipeline

__all__ = ["create_pipeline"]
