"""The pipeline ``calibrate_gate``; see pipeline.py."""

from dg_project.pipelines.calibrate_gate.pipeline import create_pipeline

__all__ = ["create_pipeline"]
