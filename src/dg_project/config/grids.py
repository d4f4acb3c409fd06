"""Parameters of grids (rows x seeds): the methods to train, and the changes of each row."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from dg_project.config.base import Fraction, Names, OptionalNames, Params, Seeds, counted, listed, without_removed
from dg_project.config.generation import GateParams
from dg_project.config.models import TASK_PARAMS
from dg_project.core.errors import ParameterError, nearest

BASELINE = "erm"
MIXED = "_pseudo"
"""Ending of a row's name that puts a method on mixed batches; records have such names."""
_TRAINED = ("training", "backbone", "sampling", *TASK_PARAMS)
"""Groups that a row may change, besides those of methods; images, labels and seeds are shared by all rows."""
GENERATES = ("synthesis", "ldm", "sampling")
"""Groups that a quality of pseudo images may change."""
_GATE_KEYS = {"enabled", "min_visibility", "ignore_lost", "drop_below", "down_weight_below"}
"""Gate parameters that reweight the same pseudo images."""


class RowParams(Params):
    """One row of a grid: a method, and its changes to the run's parameters."""

    method: str
    domains: OptionalNames = Field(None, min_length=1, description="pseudo domains to train on; None: all")
    loop: Literal["open", "closed"] = Field("open", description="pseudo images of the run, or of a "
                                            "closed loop per seed")
    params: dict[str, Any] = Field({}, description="changes, nested as in the parameter files: {drsf: {stage: 2}}")

    @model_validator(mode="after")
    def _loop_chooses(self) -> RowParams:
        if self.loop == "closed" and self.domains:
            raise ValueError("domains: the closed loop divides its images over all pseudo domains; remove them")
        return self


class GridParams(Params):
    """Methods, and further rows with changes, over seeds."""

    methods: Names = Field(["erm", "mixstyle", "naive", "drsf"], description="rows without changes")
    rows: dict[str, RowParams] = Field({}, description="further rows by name; null removes one")
    only: OptionalNames = Field(None, description="names of the rows to run, in addition to erm; None: all")
    seeds: Seeds = Field([0, 1, 2], min_length=1)
    confidence: Fraction = 0.95
    collect: bool = Field(False, description="do not train: score cached models, and stop if one is missing")

    _listed = field_validator("methods", "only", mode="before")(listed)
    _counted = field_validator("seeds", mode="before")(counted)
    _removed = field_validator("rows", mode="before")(without_removed)

    @model_validator(mode="after")
    def _names(self) -> GridParams:
        if twice := sorted(set(self.methods) & set(self.rows)):
            raise ValueError(f"'{twice[0]}' is among the methods and among the rows: rename the row")
        if wrong := [name for name in self.rows if not name.replace("-", "_").replace(".", "_").isidentifier()]:
            raise ValueError(f"rows: '{wrong[0]}' becomes a folder and a metric; use letters, digits, '_', '-' and '.'")
        if BASELINE not in self.every_row or self.every_row[BASELINE] != RowParams(method=BASELINE):
            raise ValueError(f"gains are taken against '{BASELINE}': add it to the methods")
        for name in self.only or []:
            if name not in self.every_row:
                raise ValueError(f"only: there is no row '{name}'.{nearest(name, self.every_row)}")
        return self

    @property
    def every_row(self) -> dict[str, RowParams]:
        """All rows by name, plain methods first."""
        return {**{name: plain_row(name) for name in self.methods}, **self.rows}

    @property
    def chosen_rows(self) -> dict[str, RowParams]:
        """The rows to run."""
        return {name: row for name, row in self.every_row.items()
                if self.only is None or name in self.only or name == BASELINE}


class QualityParams(Params):
    """One quality of pseudo images: what is changed in how they are made."""

    params: dict[str, Any] = Field({}, description="changes of synthesis, ldm and sampling, nested as in the parameter "
                                                   "files")
    oracle: bool = Field(False, description="the images show the targets' own kind of domain, as no generator could "
                                            "know: results are an upper bound and marked so")

    @model_validator(mode="after")
    def _generation_only(self) -> QualityParams:
        if wrong := sorted(set(self.params) - set(GENERATES)):
            raise ValueError(f"params: a quality changes {', '.join(GENERATES)}, not '{wrong[0]}'."
                             f"{nearest(wrong[0], GENERATES)}")
        return self


class RegimeParams(Params):
    """Methods over pseudo images of different quality."""

    methods: Names = Field(["erm", "naive", "drsf"], min_length=2)
    qualities: dict[str, QualityParams] = Field({}, description="by name; null removes one")
    seeds: Seeds = Field([0, 1, 2], min_length=1)
    confidence: Fraction = 0.95
    reference: OptionalNames = Field(None, description="glob patterns of unlabelled images that look as the pseudo "
                                                       "images should; None: their distance is not measured")

    _listed = field_validator("methods", "reference", mode="before")(listed)
    _counted = field_validator("seeds", mode="before")(counted)
    _removed = field_validator("qualities", mode="before")(without_removed)

    @model_validator(mode="after")
    def _baseline(self) -> RegimeParams:
        if BASELINE not in self.methods:
            raise ValueError(f"methods: gains are taken against '{BASELINE}', which is missing")
        return self

    @property
    def grid(self) -> GridParams:
        """The grid that is trained with every quality."""
        return GridParams(methods=self.methods, seeds=self.seeds, confidence=self.confidence)


def plain_row(name: str) -> RowParams:
    """Return the row of a method's name; ``<method>_pseudo`` is the method on the batches of naive mixing."""
    if name.endswith(MIXED):
        return RowParams(method=name.removesuffix(MIXED), params={"training": {"batches": "mixed"}})
    return RowParams(method=name)


def merged(raw: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Merge changes into nested parameters.

    >>> merged({"drsf": {"stage": 3, "alpha": 1.0}}, {"drsf": {"stage": None}})
    {'drsf': {'stage': None, 'alpha': 1.0}}
    """
    both = {key: merged(raw[key], value) if isinstance(value, Mapping) and isinstance(raw.get(key), Mapping) else value
            for key, value in changes.items()}
    return {**raw, **both}


def check_domains(grid: str, rows: Mapping[str, RowParams], domains: Iterable[str]) -> None:
    """Check that a run generates the pseudo domains of a grid's rows.

    Only the grid that runs is checked, so that changing ``synthesis.domains`` does not require changing the ablation.

    Raises:
        ParameterError: a row names a domain that the run does not generate.
    """
    known = list(domains)
    for name, row in rows.items():
        for domain in row.domains or []:
            if domain not in known:
                raise ParameterError(f"{grid}.rows.{name}: domains: there is no pseudo domain '{domain}'."
                                     f"{nearest(domain, known)}")


def row_problems(row: RowParams, methods: Iterable[str], gate: GateParams) -> list[str]:
    """Return the problems with names in a row; values are checked with all other parameters.

    Args:
        row: row of a grid.
        methods: names of all methods.
        gate: the run's gate.
    """
    methods = set(methods)
    problems = []
    if row.method not in methods:
        problems.append(f"unknown method '{row.method}'.{nearest(row.method, methods)}")
    allowed = {*_TRAINED, *methods}
    if row.loop == "closed":
        allowed.add("closed_loop")
    problems += [f"params: a row cannot change '{key}', only what is trained on the same images.{nearest(key, allowed)}"
                 for key in row.params if key not in allowed]
    sampling = row.params.get("sampling", {})
    changed = set(sampling.get("gate", {})) if set(sampling) <= {"gate"} else set(sampling)
    reweighted = _GATE_KEYS if gate.clip is None else {"enabled"}
    problems += [f"params.sampling: '{key}' would choose other images (or needs the CLIP model again); a row "
                 f"can change {', '.join(sorted('gate.' + name for name in reweighted))}"
                 for key in sorted(changed - reweighted)]
    return problems
