"""Models that the project trains itself: the shipped diffusion model and CLIP-like teacher, and LDMs of own folders."""

from __future__ import annotations

from kedro.pipeline import Node, Pipeline

from dg_project.pipelines.pretrain import folder_ldm, ldm, teacher


def create_ldm_pipeline() -> Pipeline:
    """Train the tiny diffusion model: trained_ldm is a diffusers folder with its model card."""
    return Pipeline([
        Node(ldm.train_oracle, "params:settings", "oracle_model", name="train_oracle"),
        Node(ldm.train_ldm, ["params:pretrain_ldm", "oracle_model", "params:workspace"],
             ["trained_ldm", "ldm_history"], name="train_ldm"),
    ], namespace="pretrain_ldm", tags="gpu", prefix_datasets_with_namespace=False)


def create_folder_ldm_pipeline() -> Pipeline:
    """Train diffusion models on image folders: folder_ldms has one diffusers folder per domain that is left out.

    ``kedro run --pipeline=pretrain_folder_ldm --params data.root=/data/PACS,pretrain_folder_ldm.held_out=each``
    """
    return Pipeline([
        Node(folder_ldm.train_folder_ldms, "params:settings", ["folder_ldms", "folder_ldms_history"],
             name="train_folder_ldms"),
    ], namespace="pretrain_folder_ldm", tags="gpu", prefix_datasets_with_namespace=False)


def create_teacher_pipeline() -> Pipeline:
    """Train the projector of the CLIP-like teacher: trained_teacher is its folder with its card."""
    return Pipeline([
        Node(teacher.cut_crops, "params:pretrain_teacher", ["teacher_crops", "held_out_crops"], name="cut_crops"),
        Node(teacher.train_teacher, ["teacher_crops", "held_out_crops", "params:pretrain_teacher", "params:workspace"],
             ["trained_teacher", "teacher_history"], name="train_teacher"),
    ], namespace="pretrain_teacher", tags="gpu", prefix_datasets_with_namespace=False)
