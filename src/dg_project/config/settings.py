"""All parameters together, and the check that comes before anything runs."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from dg_project.config.applications import ExportParams, PredictParams, PretrainLDMParams, PretrainTeacherParams
from dg_project.config.base import Params
from dg_project.config.data import DataParams, DomainParams
from dg_project.config.generation import ClosedLoopParams, LDMParams, SamplingParams, SynthesisParams, denoising_steps
from dg_project.config.grids import GridParams, RowParams, merged, row_problems
from dg_project.config.models import (
    BackboneParams,
    ClassificationParams,
    DetectionParams,
    InstanceSegmentationParams,
    SegmentationParams,
    Task,
    TaskParams,
)
from dg_project.config.training import EvaluationParams, LeaveOneOutParams, ReportingParams, TrainingParams, UDAParams
from dg_project.core.errors import ParameterError, nearest


class Settings(BaseModel):
    """The root: one field per pipeline. Top-level keys that are not here must be names of methods."""

    model_config = ConfigDict(extra="allow", frozen=True)

    task: Task = "detection"
    method: str = "drsf"
    seed: int = Field(0, ge=0)
    dry_run: bool = Field(False, description="look at data, weights, memory and disk, print the plan, and stop")
    workspace: str = Field("data/.workspace", description="unfinished and reusable work, addressed by its inputs")
    data: DataParams
    ldm: LDMParams
    synthesis: SynthesisParams
    sampling: SamplingParams = SamplingParams()
    backbone: BackboneParams = BackboneParams()
    detection: DetectionParams = DetectionParams()
    instance_segmentation: InstanceSegmentationParams = InstanceSegmentationParams()
    segmentation: SegmentationParams = SegmentationParams()
    classification: ClassificationParams = ClassificationParams()
    training: TrainingParams = TrainingParams()
    closed_loop: ClosedLoopParams = ClosedLoopParams()
    evaluation: EvaluationParams = EvaluationParams()
    reporting: ReportingParams = ReportingParams()
    benchmark: GridParams = GridParams()
    ablation: GridParams = GridParams(methods=["erm"])
    leave_one_out: LeaveOneOutParams = LeaveOneOutParams()
    uda: UDAParams = UDAParams()
    pretrain_ldm: PretrainLDMParams = PretrainLDMParams()
    pretrain_teacher: PretrainTeacherParams = PretrainTeacherParams()
    predict: PredictParams = PredictParams()
    export: ExportParams = ExportParams()
    pipelines: dict[str, dict[str, Any]] = Field({}, description="what a pipeline changes in the other parameters")

    @property
    def head(self) -> TaskParams:
        """The parameters of the chosen task."""
        chosen: TaskParams = getattr(self, self.task)
        return chosen

    @property
    def classes(self) -> list[str]:
        """The classes of the chosen task."""
        return self.segmentation.classes if self.task == "segmentation" else self.data.classes

    def with_row(self, row: RowParams, seed: int) -> Settings:
        """Return the parameters of one cell of a grid."""
        changed = merged(self.model_dump(mode="json"), row.params)
        return Settings.model_validate({**changed, "method": row.method, "seed": seed})

    @model_validator(mode="after")
    def _generation(self) -> Settings:
        """Refuse what would fail only after hours of generation."""
        for name, domain in self.synthesis.domains.items():
            if domain.strength > 0 and denoising_steps(self.ldm.steps, domain.strength) < 1:
                raise ValueError(f"synthesis.domains.{name}.strength {domain.strength} with ldm.steps {self.ldm.steps} "
                                 f"runs no denoising step: raise ldm.steps to {math.ceil(1 / domain.strength)} or "
                                 "more, or the strength")
        if self.ldm.memory.offload != "none" and self.training.device == "cpu":
            raise ValueError("ldm.memory.offload moves a model between the CPU and an accelerator, but training.device "
                             "is cpu: set ldm.memory.offload: none")
        if self.ldm.mode == "inversion" and not self.ldm.inversion.eta:
            _check_copies(self.synthesis)
        return self


def _check_copies(synthesis: SynthesisParams) -> None:
    fixed = [name for name, domain in synthesis.domains.items() if domain.prompt and "{" not in domain.prompt]
    if synthesis.candidates > 1 and fixed:
        raise ValueError(f"ldm.mode 'inversion' draws nothing at random, so the {synthesis.candidates} candidates of "
                         f"'{fixed[0]}' would be copies: set synthesis.candidates: 1, raise ldm.inversion.eta above 0, "
                         "or write choices {a|b} into the prompt")


def check_parameters(raw: dict[str, Any], methods: Mapping[str, type[Params]],
                     readers: Mapping[str, type[Params]] | None = None) -> Settings:
    """Validate everything under ``conf/**/parameters*.yml`` and ``--params`` at once.

    Args:
        raw: the merged parameters.
        methods: parameter class of every method, by method name.
        readers: option class of every reader, by reader name; None leaves the options to the ingestion.

    Raises:
        ParameterError: one line per wrong or unknown key, with its full path, the reason and the nearest valid key.
    """
    parsed, problems = _parse(raw, methods)
    problems += _reader_problems(parsed.data, readers) if parsed and readers else []
    problems += _grid_problems(raw, parsed, methods) if parsed and not problems else []
    if problems or parsed is None:
        raise ParameterError("wrong parameters, nothing was run:\n  " + "\n  ".join(problems))
    return parsed


def _parse(raw: dict[str, Any], methods: Mapping[str, type[Params]]) -> tuple[Settings | None, list[str]]:
    """Return the typed parameters, or None, and what is wrong with them."""
    known = [*Settings.model_fields, *methods]
    problems = [f"unknown parameter '{key}'.{nearest(key, known)}" for key in raw if key not in known]
    parsed = None
    try:
        parsed = Settings.model_validate({k: v for k, v in raw.items() if k in Settings.model_fields})
    except ValidationError as error:
        problems += _lines(error)
    for name, schema in methods.items():
        try:
            schema.model_validate(raw.get(name, {}))
        except ValidationError as error:
            problems += _lines(error, name)
    chosen = [raw.get("method", "drsf"), *([parsed.uda.method, parsed.uda.baseline] if parsed else [])]
    problems += [f"unknown method '{m}'.{nearest(str(m), methods)}" for m in dict.fromkeys(chosen) if m not in methods]
    return parsed, problems


def _grid_problems(raw: dict[str, Any], parsed: Settings, methods: Mapping[str, type[Params]]) -> list[str]:
    """Check the rows of the grids, each with its changes in the place of what they name."""
    problems = []
    for grid in ("benchmark", "ablation"):
        rows: dict[str, RowParams] = getattr(parsed, grid).every_row
        for name, row in rows.items():
            found = row_problems(row, methods, parsed.sampling.gate)
            if not found and row.params:
                found = [f"params: {problem}" for problem in _parse(merged(raw, row.params), methods)[1]]
            problems += [f"{grid}.rows.{name}: {problem}" for problem in found]
    return problems


def _reader_problems(data: DataParams, readers: Mapping[str, type[Params]]) -> list[str]:
    """Check the reader and the options of every domain; each problem is told once."""
    problems: dict[str, None] = {}
    for domain in [data.source, *data.targets]:
        reader, _, options = data.layout(domain)
        own = data.domains.get(domain, DomainParams())
        if reader not in readers:
            where = f"data.domains.{domain}.reader" if own.reader else "data.reader"
            problems[f"{where}: unknown reader '{reader}'.{nearest(reader, readers)}"] = None
            continue
        try:
            readers[reader].model_validate(options)
        except ValidationError as error:
            where = f"data.domains.{domain}.options" if own.options is not None else "data.options"
            problems |= dict.fromkeys(_lines(error, f"{where} (reader {reader})"))
    return list(problems)


def _lines(error: ValidationError, prefix: str = "") -> list[str]:
    lines = []
    for item in error.errors():
        path = ".".join(filter(None, [prefix, *map(str, item["loc"])]))
        given = "" if item["type"] in ("missing", "value_error") else f" (given: {item['input']!r})"
        lines.append(f"{path or 'parameters'}: {item['msg'].removeprefix('Value error, ')}{given}")
    return lines
