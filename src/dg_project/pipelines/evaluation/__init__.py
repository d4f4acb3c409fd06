"""The pipeline ``evaluation``; see pipeline.py."""

from dg_project.pipelines.evaluation.pipeline import (
    create_pipeline,
    create_target_oracle_pipeline,
)

__all__ = ["create_pipeline", "create_target_oracle_pipeline"]
