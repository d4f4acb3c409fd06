"""Base class of all parameter groups, and types that mark a parameter as a path."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, model_validator

from dg_project.core.errors import nearest

Fraction = Annotated[float, Field(ge=0, le=1)]
PATH, CHECKPOINT, WEIGHTS = "path", "checkpoint", "weights"
ProjectPath = Annotated[str, PATH]
"""A file or folder; a relative path starts at the project folder (``config.paths``)."""
OptionalPath = Annotated[str | None, PATH]
Checkpoint = Annotated[str, CHECKPOINT]
"""A folder or hub name; a relative folder starts at the project folder."""
OptionalCheckpoint = Annotated[str | None, CHECKPOINT]


def checkpoint_fields(params: type[Params]) -> list[str]:
    """Return the names of the parameters that are a ``Checkpoint``."""
    return [name for name, field in params.model_fields.items() if CHECKPOINT in field.metadata]


def listed(value: Any) -> Any:
    """Split a list that is given without commas, because ``--params`` splits at commas: ``erm+drsf``."""
    return value.split("+") if isinstance(value, str) else value


def counted(value: Any) -> Any:
    """Return the seeds 0, 1, ... if a number of seeds is given, else ``listed(value)``."""
    return list(range(value)) if isinstance(value, int) else listed(value)


class Params(BaseModel):
    """Base of all parameter groups: immutable, and an unknown key names the nearest known one."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    @model_validator(mode="before")
    @classmethod
    def _unknown_keys(cls, data: Any) -> Any:
        if isinstance(data, dict):
            for key in data:
                if key not in cls.model_fields:
                    raise ValueError(f"unknown parameter '{key}'.{nearest(str(key), cls.model_fields)}")
        return data
