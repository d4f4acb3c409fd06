"""The pipeline ``pretrain_teacher``; see pipeline.py."""

from dg_project.pipelines.pretrain_teacher.pipeline import create_pipeline

__all__ = ["create_pipeline"]
