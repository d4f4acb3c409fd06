"""Rows x seeds -> one table: which methods a grid trains, and what each row changes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from dg_project.config.base import Fraction, Params, counted, listed
from dg_project.config.generation import GateParams
from dg_project.config.models import TASK_PARAMS
from dg_project.core.errors import ParameterError, nearest

BASELINE = "erm"
MIXED = "_pseudo"
"""Ending of a row's name that puts a method on mixed batches; records have such names."""
_TRAINED = ("training", "backbone", "sampling", *TASK_PARAMS)
"""Groups that a row may change beside those of methods; images, labels and seeds are the same for all rows."""
_VIEWS = {"enabled", "min_visibility", "drop_below", "down_weight_below"}
"""Parameters of the gate that weigh the same pseudo images anew."""


class RowParams(Params):
    """One row of a grid: a method, and how it differs from the run's parameters."""

    method: str
    domains: list[str] | None = Field(None, min_length=1, description="pseudo domains that it sees; None is all")
    loop: Literal["open", "closed"] = Field("open", description="whose pseudo images: those of the run, "
                                            "or its own, which the closed loop makes anew for every seed")
    params: dict[str, Any] = Field({}, description="changes, nested as in the parameter files: {drsf: {stage: 2}}")

    @model_validator(mode="after")
    def _loop_chooses(self) -> RowParams:
        if self.loop == "closed" and self.domains:
            raise ValueError("domains: the closed loop divides its images over all pseudo domains; leave them out")
        return self


class GridParams(Params):
    """Methods, and rows with changes of their own, over seeds."""

    methods: list[str] = Field(["erm", "mixstyle", "naive", "drsf"], description="rows without changes")
    rows: dict[str, RowParams] = Field({}, description="further rows by name; null takes one away")
    only: list[str] | None = Field(None, description="names of the rows to run, beside erm; None is all")
    seeds: list[int] = Field([0, 1, 2], min_length=1)
    confidence: Fraction = 0.95
    collect: bool = Field(False, description="train nothing: stop if a cell is missing, score what the workspace has")

    _listed = field_validator("methods", "only", mode="before")(listed)
    _counted = field_validator("seeds", mode="before")(counted)

    @field_validator("rows", mode="before")
    @classmethod
    def _without_removed(cls, rows: Any) -> Any:
        return {k: v for k, v in rows.items() if v is not None} if isinstance(rows, dict) else rows

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
        """All rows by name, the plain methods first."""
        return {**{name: plain_row(name) for name in self.methods}, **self.rows}

    @property
    def chosen_rows(self) -> dict[str, RowParams]:
        """The rows to run."""
        return {name: row for name, row in self.every_row.items()
                if self.only is None or name in self.only or name == BASELINE}


def plain_row(name: str) -> RowParams:
    """Return the row of a method's name; ``<method>_pseudo`` is the method on the batches of naive mixing."""
    if name.endswith(MIXED):
        return RowParams(method=name.removesuffix(MIXED), params={"training": {"batches": "mixed"}})
    return RowParams(method=name)


def merged(raw: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Return nested parameters with changes in the place of what they name.

    >>> merged({"drsf": {"stage": 3, "alpha": 1.0}}, {"drsf": {"stage": None}})
    {'drsf': {'stage': None, 'alpha': 1.0}}
    """
    both = {key: merged(raw[key], value) if isinstance(value, Mapping) and isinstance(raw.get(key), Mapping) else value
            for key, value in changes.items()}
    return {**raw, **both}


def check_domains(grid: str, rows: Mapping[str, RowParams], domains: Iterable[str]) -> None:
    """Look whether a run makes the pseudo domains that the rows of a grid see.

    It is asked of the grid that runs alone: who writes other ``synthesis.domains`` need not rewrite the ablation.

    Raises:
        ParameterError: a row names a domain that the run does not make.
    """
    known = list(domains)
    for name, row in rows.items():
        for domain in row.domains or []:
            if domain not in known:
                raise ParameterError(f"{grid}.rows.{name}: domains: there is no pseudo domain '{domain}'."
                                     f"{nearest(domain, known)}")


def row_problems(row: RowParams, methods: Iterable[str], gate: GateParams) -> list[str]:
    """Return what is wrong with the names in a row; the values are checked with all other parameters.

    Args:
        row: of a grid.
        methods: names of all methods.
        gate: the run's gate.
    """
    methods = set(methods)
    problems = [f"unknown method '{row.method}'.{nearest(row.method, methods)}"] * (row.method not in methods)
    allowed = {*_TRAINED, *methods, *(["closed_loop"] if row.loop == "closed" else [])}
    problems += [f"params: a row cannot change '{key}', only what is trained on the same images.{nearest(key, allowed)}"
                 for key in row.params if key not in allowed]
    sampling = row.params.get("sampling", {})
    changed = set(sampling.get("gate", {})) if set(sampling) <= {"gate"} else set(sampling)
    seen_anew = _VIEWS if gate.clip is None else {"enabled"}
    problems += [f"params.sampling: '{key}' would choose other images (or needs the CLIP model again); a row "
                 f"can change {', '.join(sorted('gate.' + name for name in seen_anew))}"
                 for key in sorted(changed - seen_anew)]
    return problems
