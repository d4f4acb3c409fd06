"""All parameters of the project, typed and checked before a run.

Parameters of a method are defined in its module (``Method.Params``), under the top-level key of its name.
"""

from __future__ import annotations

from dg_project.config.applications import (
    ExportFormat,
    ExportParams,
    PredictionFormat,
    PredictParams,
    PretrainFolderLDMParams,
    PretrainLDMParams,
    PretrainTeacherParams,
)
from dg_project.config.base import Checkpoint, Fraction, Params, checkpoint_fields, listed, problems_of
from dg_project.config.data import DataParams, DomainParams
from dg_project.config.generation import (
    ClosedLoopParams,
    ControlNetParams,
    CorruptionName,
    GateParams,
    InpaintParams,
    InversionParams,
    LDMParams,
    LoRAParams,
    MemoryParams,
    OnlineParams,
    PseudoDomain,
    SamplingParams,
    SynthesisParams,
    VocabularyParams,
    denoising_steps,
)
from dg_project.config.grids import GridParams, QualityParams, RegimeParams, RowParams
from dg_project.config.models import (
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
from dg_project.config.settings import Settings, check_names, check_parameters
from dg_project.config.training import (
    EvaluationParams,
    GateCalibrationParams,
    LeaveOneOutParams,
    ReportingParams,
    TrainingParams,
    UDAParams,
)

__all__ = [
    "SEMANTIC_CLASSES",
    "TASK_PARAMS",
    "BackboneParams",
    "Checkpoint",
    "ClassificationParams",
    "ClosedLoopParams",
    "ControlNetParams",
    "CorruptionName",
    "DataParams",
    "DetectionParams",
    "DomainParams",
    "EvaluationParams",
    "ExportFormat",
    "ExportParams",
    "Fraction",
    "GateCalibrationParams",
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
    "Params",
    "PredictParams",
    "PredictionFormat",
    "PretrainFolderLDMParams",
    "PretrainLDMParams",
    "PretrainTeacherParams",
    "PseudoDomain",
    "QualityParams",
    "RegimeParams",
    "ReportingParams",
    "RowParams",
    "SamplingParams",
    "SegmentationParams",
    "Settings",
    "SynthesisParams",
    "Task",
    "TaskParams",
    "TrainingParams",
    "UDAParams",
    "VocabularyParams",
    "check_names",
    "check_parameters",
    "checkpoint_fields",
    "denoising_steps",
    "listed",
    "problems_of",
]
