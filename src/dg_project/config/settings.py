"""All parameters of a run as one typed object, and the check that makes it."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from dg_project.config.applications import (
    ExportParams,
    PredictParams,
    PretrainFolderLDMParams,
    PretrainLDMParams,
    PretrainTeacherParams,
)
from dg_project.config.base import Params, problems_of
from dg_project.config.data import DataParams, DomainParams
from dg_project.config.generation import ClosedLoopParams, LDMParams, SamplingParams, SynthesisParams, denoising_steps
from dg_project.config.grids import GridParams, RegimeParams, RowParams, merged, row_problems
from dg_project.config.models import (
    BackboneParams,
    ClassificationParams,
    DetectionParams,
    InstanceSegmentationParams,
    SegmentationParams,
    Task,
    TaskParams,
)
from dg_project.config.training import (
    EvaluationParams,
    GateCalibrationParams,
    LeaveOneOutParams,
    ReportingParams,
    TrainingParams,
    UDAParams,
)
from dg_project.core.errors import ParameterError, nearest


class Settings(BaseModel):
    """All parameters of a run. Top-level keys that are not fields are the parameters of methods, by method name."""

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
    gate_calibration: GateCalibrationParams = GateCalibrationParams()
    regime: RegimeParams = RegimeParams()
    uda: UDAParams = UDAParams()
    pretrain_ldm: PretrainLDMParams = PretrainLDMParams()
    pretrain_folder_ldm: PretrainFolderLDMParams = PretrainFolderLDMParams()
    pretrain_teacher: PretrainTeacherParams = PretrainTeacherParams()
    predict: PredictParams = PredictParams()
    export: ExportParams = ExportParams()

    @property
    def head(self) -> TaskParams:
        """The parameters of the chosen task."""
        chosen: TaskParams = getattr(self, self.task)
        return chosen

    @property
    def classes(self) -> list[str]:
        """The classes of the chosen task."""
        return self.segmentation.classes if self.task == "segmentation" else self.data.classes

    @property
    def methods(self) -> dict[str, Params]:
        """The parameters of every method by its name, as ``check_parameters`` typed them."""
        return {name: own for name, own in (self.model_extra or {}).items() if isinstance(own, Params)}

    def with_row(self, row: RowParams, seed: int) -> Settings:
        """Return the parameters of one cell of a grid; only the groups that the row changes are parsed again."""
        groups = {**dict(self), **(self.model_extra or {})}
        changed = {name: _changed(groups.get(name, {}), changes) for name, changes in row.params.items()}
        return self.model_copy(update={**changed, "method": row.method, "seed": seed})

    def with_quality(self, name: str) -> Settings:
        """Return the parameters that make pseudo images of a quality of ``regime``.

        Raises:
            ParameterError: its changes do not fit the other parameters. Only the regime needs them to.
        """
        try:
            changed = {group: _changed(getattr(self, group), changes)
                       for group, changes in self.regime.qualities[name].params.items()}
        except ValidationError as error:
            raise ParameterError(f"regime.qualities.{name}: {'; '.join(problems_of(error))}; correct it, or remove it "
                                 f"with regime.qualities.{name}=null") from error
        return self.model_copy(update=changed)

    @model_validator(mode="after")
    def _groups(self) -> Settings:
        """Find misspelt domains of ``evaluation.groups``, which would be missing from a mean."""
        for group, domains in self.evaluation.groups.items():
            for name in domains:
                if name not in self.data.targets:
                    raise ValueError(f"evaluation.groups.{group}: '{name}' is not among data.targets."
                                     f"{nearest(name, self.data.targets)}")
        return self

    @model_validator(mode="after")
    def _ignored_classes(self) -> Settings:
        if self.task == "segmentation" and self.data.ignore_classes:
            raise ValueError("data.ignore_classes names boxes, but task=segmentation is trained on masks, whose pixels "
                             "are ignored by id: set data.ignore_classes: [], and list ids in data.options.ignore of "
                             "the reader image_mask (other readers know their ids)")
        return self

    @model_validator(mode="after")
    def _generation(self) -> Settings:
        """Refuse what would fail only after hours of generation."""
        for name, domain in self.synthesis.prompted.items():
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


def _changed(group: Params | dict[str, Any], changes: Mapping[str, Any]) -> Params | dict[str, Any]:
    """Return a group of parameters with changes; the parameters of a method may still be untyped."""
    if isinstance(group, Params):
        return type(group).model_validate(merged(group.model_dump(mode="json"), changes))
    return merged(group, changes)


def _check_copies(synthesis: SynthesisParams) -> None:
    fixed = [name for name, domain in synthesis.prompted.items() if domain.prompt and "{" not in domain.prompt]
    if synthesis.candidates > 1 and fixed:
        raise ValueError(f"ldm.mode 'inversion' draws nothing at random, so the {synthesis.candidates} candidates of "
                         f"'{fixed[0]}' would be copies: set synthesis.candidates: 1, raise ldm.inversion.eta above 0, "
                         "or write choices {a|b} into the prompt")


def check_names(raw: dict[str, Any], methods: Mapping[str, Collection[str]]) -> Settings:
    """Parse every group of parameters that is no method's, and check the names of those of methods.

    Args:
        raw: the merged parameters of ``conf/`` and ``--params``.
        methods: names of the parameters of every method, by method name.

    Raises:
        ParameterError: one line per wrong or unknown key, with its full path, the reason and the nearest valid key.
    """
    parsed, problems = _parse(raw, methods)
    problems += [f"{name}: unknown parameter '{key}'.{nearest(str(key), names)}" for name, names in methods.items()
                 if isinstance(raw.get(name), Mapping) for key in raw[name] if key not in names]
    _stop(problems)
    assert parsed is not None
    return parsed


def check_parameters(raw: dict[str, Any], methods: Mapping[str, type[Params]],
                     readers: Mapping[str, type[Params]] | None = None, parsed: Settings | None = None) -> Settings:
    """Parse the merged parameters of ``conf/`` and ``--params``, those of all methods included.

    Args:
        raw: the merged parameters.
        methods: parameter class of every method, by method name. The parameters of a method that combines others (its
            class inherits theirs) default to what the others have in this run.
        readers: option class of every reader, by reader name; None leaves the options to the ingestion.
        parsed: what ``check_names`` returned, if it was called before.

    Raises:
        ParameterError: see ``check_names``.
    """
    problems: list[str] = []
    if parsed is None:
        parsed, problems = _parse(raw, methods)
    typed = {}
    for name, own in _method_groups(raw, methods).items():
        try:
            typed[name] = methods[name].model_validate(own)
        except ValidationError as error:
            problems += problems_of(error, name)
    problems += _reader_problems(parsed.data, readers) if parsed and readers else []
    problems += _grid_problems(parsed, typed) if parsed and not problems else []
    _stop(problems)
    assert parsed is not None
    return parsed.model_copy(update=typed)


def _parse(raw: dict[str, Any], methods: Collection[str]) -> tuple[Settings | None, list[str]]:
    """Return the groups of parameters that are no method's, or None, and the problems found in them."""
    known = [*Settings.model_fields, *methods]
    problems = [f"unknown parameter '{key}'.{nearest(key, known)}" for key in raw if key not in known]
    parsed = None
    try:
        parsed = Settings.model_validate({k: v for k, v in raw.items() if k in Settings.model_fields})
    except ValidationError as error:
        problems += problems_of(error)
    chosen = [raw.get("method", "drsf"), *([parsed.uda.method, parsed.uda.baseline] if parsed else [])]
    problems += [f"unknown method '{m}'.{nearest(str(m), methods)}" for m in dict.fromkeys(chosen) if m not in methods]
    return parsed, problems


def _stop(problems: list[str]) -> None:
    if problems:
        raise ParameterError("wrong parameters, nothing was run:\n  " + "\n  ".join(problems))


def _method_groups(raw: Mapping[str, Any], methods: Mapping[str, type[Params]]) -> dict[str, Any]:
    """Return the raw parameters of every method; a combined method starts from those of the methods it combines."""
    owners = {schema: name for name, schema in reversed(list(methods.items()))}
    groups: dict[str, Any] = {}
    for name, schema in methods.items():
        combined = [owners[base] for base in reversed(schema.__mro__[1:]) if base in owners]
        own = raw.get(name, {})
        if len(combined) > 1 and isinstance(own, Mapping):
            own = {key: value for other in [*combined, name] for key, value in raw.get(other, {}).items()}
        groups[name] = own
    return groups


def _grid_problems(parsed: Settings, methods: Mapping[str, Params]) -> list[str]:
    """Check the rows of the grids: the names in a row, then each group of parameters that it changes."""
    problems = []
    for grid in ("benchmark", "ablation"):
        rows: dict[str, RowParams] = getattr(parsed, grid).every_row
        for name, row in rows.items():
            found = row_problems(row, methods, parsed.sampling.gate)
            for group, changes in ({} if found else row.params).items():
                try:
                    _changed(methods[group] if group in methods else getattr(parsed, group), changes)
                except ValidationError as error:
                    found += [f"params: {problem}" for problem in problems_of(error, group)]
            problems += [f"{grid}.rows.{name}: {problem}" for problem in found]
    problems += [f"regime.methods: unknown method '{name}'.{nearest(name, methods)}"
                 for name in parsed.regime.methods if name not in methods]
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
            problems |= dict.fromkeys(problems_of(error, f"{where} (reader {reader})"))
    return list(problems)
