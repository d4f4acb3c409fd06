"""The pipeline ``pretrain_ldm``; see pipeline.py."""

from dg_project.pipelines.pretrain_ldm.pipeline import create_pipeline

__all__ = ["create_pipeline"]
