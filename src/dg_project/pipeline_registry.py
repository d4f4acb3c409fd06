"""The project's pipelines by name: stages, sums of stages, and tools."""

from __future__ import annotations

from kedro.pipeline import Pipeline

from dg_project.pipelines import (
    evaluation,
    export,
    ingestion,
    leave_one_out,
    predict,
    pretrain,
    reporting,
    sampling,
    synthesis,
    training,
)
from dg_project.pipelines.sums import create_sums


def register_pipelines() -> dict[str, Pipeline]:
    """Return the pipelines by name; the default one is ``drsf``."""
    stages = {
        "ingestion": ingestion.create_pipeline(),
        "synthesis": synthesis.create_pipeline(),
        "sampling": sampling.create_pipeline(),
        "training": training.create_pipeline(),
        "evaluation": evaluation.create_pipeline("baseline", "naive"),
        "reporting": reporting.create_pipeline(naive=True),
    }
    tools = {
        "leave_one_out": leave_one_out.create_pipeline(),
        "predict": predict.create_pipeline(),
        "export": export.create_pipeline(),
        "pretrain_ldm": pretrain.create_ldm_pipeline(),
        "pretrain_folder_ldm": pretrain.create_folder_ldm_pipeline(),
        "pretrain_teacher": pretrain.create_teacher_pipeline(),
    }
    sums = create_sums()
    return {**stages, **sums, **tools, "__default__": sums["drsf"]}
