"""The pipelines ``pretrain_ldm`` and ``pretrain_teacher``; see pipeline.py."""

from dg_project.pipelines.pretrain.pipeline import create_ldm_pipeline, create_teacher_pipeline

__all__ = ["create_ldm_pipeline", "create_teacher_pipeline"]
