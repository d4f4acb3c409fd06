"""A captioned corpus -> trained_teacher, the projector of the CLIP-like teacher with its card."""

from __future__ import annotations

from kedro.pipeline import Node, Pipeline

from dg_project.pipelines.pretrain_teacher import nodes


def create_pipeline() -> Pipeline:
    """Return the training of the embedded teacher."""
    return Pipeline([
        Node(nodes.cut_crops, "params:pretrain_teacher", ["teacher_crops", "held_out_crops"], name="cut_crops",
             tags="gpu"),
        Node(nodes.train_teacher,
             ["teacher_crops", "held_out_crops", "params:pretrain_teacher", "params:workspace"],
             ["trained_teacher", "teacher_history"], name="train_teacher", tags="gpu"),
    ], namespace="pretrain_teacher", prefix_datasets_with_namespace=False)
