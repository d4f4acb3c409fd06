"""The pipelines ``pretrain_ldm``, ``pretrain_folder_ldm`` and ``pretrain_teacher``; see pipeline.py."""

from dg_project.pipelines.pretrain.pipeline import (
    create_folder_ldm_pipeline,
    create_ldm_pipeline,
    create_teacher_pipeline,
)

__all__ = ["create_folder_ldm_pipeline", "create_ldm_pipeline", "create_teacher_pipeline"]
