"""The pipeline ``target_oracle``; see pipeline.py."""

from dg_project.pipelines.target_oracle.pipeline import create_pipeline

__all__ = ["create_pipeline"]
