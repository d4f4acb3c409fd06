"""Base class and helpers of all parameter groups, and the types of parameters that are paths."""

from __future__ import annotations

from collections import Counter
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from dg_project.core.errors import nearest

Fraction = Annotated[float, Field(ge=0, le=1)]
PATH, CHECKPOINT, WEIGHTS = "path", "checkpoint", "weights"
ProjectPath = Annotated[str, PATH]
"""A file or folder; relative paths are resolved against the project (``config.paths``)."""
OptionalPath = Annotated[str | None, PATH]
Checkpoint = Annotated[str, CHECKPOINT]
"""A folder or hub name; relative folders are resolved against the project."""
OptionalCheckpoint = Annotated[str | None, CHECKPOINT]


def checkpoint_fields(params: type[Params]) -> list[str]:
    """Return the names of the parameters that are a ``Checkpoint``."""
    return [name for name, field in params.model_fields.items() if CHECKPOINT in field.metadata]


def listed(value: Any) -> Any:
    """Split a list that is joined by ``+``, because ``--params`` splits at commas: ``erm+drsf``."""
    return value.split("+") if isinstance(value, str) else value


def counted(value: Any) -> Any:
    """Convert a number of seeds to the list 0, 1, ...; other values as ``listed``."""
    return list(range(value)) if isinstance(value, int) else listed(value)


def without_removed(value: Any) -> Any:
    """Drop the entries of a mapping that are None: environments and ``--params`` add to ``conf/base``, null removes."""
    return {key: entry for key, entry in value.items() if entry is not None} if isinstance(value, dict) else value


def each_once(values: Any) -> Any:
    """Raise ``ValueError`` if a list names something twice; other values are returned as they are."""
    found = list(map(str, values)) if isinstance(values, list | tuple) else []
    if twice := [value for value, count in Counter(found).items() if count > 1]:
        raise ValueError(f"'{twice[0]}' is named twice; name each once")
    return values


Names = Annotated[list[str], AfterValidator(each_once)]
"""Names that differ."""
OptionalNames = Annotated[list[str] | None, AfterValidator(each_once)]
Seeds = Annotated[list[int], AfterValidator(each_once)]


def problems_of(error: ValidationError, prefix: str = "") -> list[str]:
    """Return one line per wrong parameter: its full path, the reason and the value that was given."""
    lines = []
    for item in error.errors():
        path = ".".join(filter(None, [prefix, *map(str, item["loc"])]))
        given = "" if item["type"] in ("missing", "value_error") else f" (given: {item['input']!r})"
        lines.append(f"{path or 'parameters'}: {item['msg'].removeprefix('Value error, ')}{given}")
    return lines


class Params(BaseModel):
    """Base of all parameter groups: immutable; errors of unknown keys name the nearest known one."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    @model_validator(mode="before")
    @classmethod
    def _unknown_keys(cls, data: Any) -> Any:
        if isinstance(data, dict):
            for key in data:
                if key not in cls.model_fields:
                    raise ValueError(f"unknown parameter '{key}'.{nearest(str(key), cls.model_fields)}")
        return data
