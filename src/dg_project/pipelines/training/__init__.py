"""The pipeline ``training``; see pipeline.py."""

from dg_project.pipelines.training.pipeline import (
    create_closed_loop_pipeline,
    create_domainfusion_pipeline,
    create_erm_pipeline,
    create_method_pipeline,
    create_pipeline,
    create_source_pipeline,
    create_uda_pipeline,
)

__all__ = [
    "create_closed_loop_pipeline",
    "create_domainfusion_pipeline",
    "create_erm_pipeline",
    "create_method_pipeline",
    "create_pipeline",
    "create_source_pipeline",
    "create_uda_pipeline",
]
