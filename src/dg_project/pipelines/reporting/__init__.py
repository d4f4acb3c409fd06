"""The pipeline ``reporting``; see pipeline.py."""

from dg_project.pipelines.reporting.pipeline import (
    create_closed_loop_pipeline,
    create_diga_pipeline,
    create_erm_pipeline,
    create_pipeline,
    create_scmd_pipeline,
)

__all__ = [
    "create_closed_loop_pipeline",
    "create_diga_pipeline",
    "create_erm_pipeline",
    "create_pipeline",
    "create_scmd_pipeline",
]
