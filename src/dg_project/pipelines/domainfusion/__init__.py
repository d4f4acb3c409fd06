"""The pipeline ``domainfusion``; see pipeline.py."""

from dg_project.pipelines.domainfusion.pipeline import create_pipeline

__all__ = ["create_pipeline"]
