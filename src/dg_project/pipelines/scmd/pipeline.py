"""SCMD beside ERM and beside its own teacher, on object crops: ``kedro run --pipeline=scmd``.

``pipelines.scmd`` in the parameters says what this run changes: the task, the method, the images per step.
"""

from __future__ import annotations

from kedro.pipeline import Node, Pipeline

from dg_project.pipelines import evaluation, ingestion, reporting, training
from dg_project.pipelines.scmd import nodes


def create_pipeline() -> Pipeline:
    """Return the stages that need no diffusion model, and what SCMD adds to them."""
    own = Pipeline([
        Node(nodes.score_teacher,
             ["source_manifest", "target_manifest", "parameters", "params:scmd", "params:run_id"],
             ["teacher_results", "teacher_scores"], name="score_teacher", tags="gpu"),
        Node(nodes.draw_hard_samples, ["model", "source_manifest", "parameters", "params:scmd"], "hard_samples",
             name="draw_hard_samples", tags="gpu"),
    ], namespace="scmd", prefix_datasets_with_namespace=False)
    return (ingestion.create_pipeline() + training.create_source_pipeline() + evaluation.create_pipeline()
            + reporting.create_source_pipeline("hard_samples") + own)
