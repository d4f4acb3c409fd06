"""Every parameter of the project, typed and checked before anything runs.

A method's own parameters live beside the method (``Method.Params``) under the top-level key of its name.
"""

from __future__ import annotations

from dg_project.parameters.base import Checkpoint, Fraction, Params, checkpoint_fields, listed
from dg_project.parameters.closed_loop import ClosedLoopParams
from dg_project.parameters.data import DataParams, DomainParams
from dg_project.parameters.deployment import ExportFormat, ExportParams, PredictionFormat, PredictParams
from dg_project.parameters.generation import (
    ControlNetParams,
    GateParams,
    InpaintParams,
    InversionParams,
    LDMParams,
    LoRAParams,
    MemoryParams,
    PseudoDomain,
    SamplingParams,
    SynthesisParams,
    VocabularyParams,
    denoising_steps,
)
from dg_project.parameters.grid import GridParams, RowParams
from dg_project.parameters.models import (
    SEMANTIC_CLASSES,
    TASK_PARAMS,
    BackboneParams,
    ClassificationParams,
    DetectionParams,
    InstanceSegmentationParams,
    SegmentationParams,
    Task,
    TaskParams,
)
from dg_project.parameters.online import OnlineParams
from dg_project.parameters.root import Parameters, check_parameters
from dg_project.parameters.runs import EvaluationParams, LeaveOneOutParams, ReportingParams, TrainingParams, UDAParams
from dg_project.parameters.teacher import PretrainTeacherParams
from dg_project.parameters.tiny_ldm import PretrainLDMParams

__all__ = [
    "SEMANTIC_CLASSES",
    "TASK_PARAMS",
    "BackboneParams",
    "Checkpoint",
    "ClassificationParams",
    "ClosedLoopParams",
    "ControlNetParams",
    "DataParams",
    "DetectionParams",
    "DomainParams",
    "EvaluationParams",
    "ExportFormat",
    "ExportParams",
    "Fraction",
    "GateParams",
    "GridParams",
    "InpaintParams",
    "InstanceSegmentationParams",
    "InversionParams",
    "LDMParams",
    "LeaveOneOutParams",
    "LoRAParams",
    "MemoryParams",
    "OnlineParams",
    "Parameters",
    "Params",
    "PredictParams",
    "PredictionFormat",
    "PretrainLDMParams",
    "PretrainTeacherParams",
    "PseudoDomain",
    "ReportingParams",
    "RowParams",
    "SamplingParams",
    "SegmentationParams",
    "SynthesisParams",
    "Task",
    "TaskParams",
    "TrainingParams",
    "UDAParams",
    "VocabularyParams",
    "check_parameters",
    "checkpoint_fields",
    "denoising_steps",
    "listed",
]
