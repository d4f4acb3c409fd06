"""A trained model at work: predictions on anything, and exported models."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, field_validator

from dg_project.parameters.base import Fraction, Params, listed

PredictionFormat = Literal["drawn", "masks", "coco", "csv"]
ExportFormat = Literal["onnx", "torch_export", "mlflow"]


def _from_command_line(value: Any) -> Any:
    """A list without commas, which may have brackets: ``onnx+mlflow``, ``[onnx]`` or ``onnx``."""
    return listed(value.strip("[]") if isinstance(value, str) else value)


class PredictParams(Params):
    """A trained model looks at images or at a video."""

    input: str | None = Field(None, description="folder of images | .txt that lists images | video file")
    model: str | None = Field(None, description="folder of a trained model; None: the newest 'model' of the catalog")
    formats: list[PredictionFormat] | None = Field(None, description="None: all that the task has")
    score_threshold: Fraction = 0.5
    batch_size: int = Field(4, ge=1)
    every: int = Field(1, ge=1, description="every n-th frame of a video")
    on_bad_sample: Literal["stop", "skip"] = Field("stop", description="a broken image stops, or is counted")

    @field_validator("formats", mode="before")
    @classmethod
    def _formats(cls, value: Any) -> Any:
        return _from_command_line(value)


class ExportParams(Params):
    """A trained model for other programs."""

    model: str | None = Field(None, description="folder of a trained model; None: the newest 'model' of the catalog")
    format: list[ExportFormat] = Field(["onnx"], min_length=1)
    parity_images: int = Field(20, ge=1, description="test images of the source that both models must agree on")

    @field_validator("format", mode="before")
    @classmethod
    def _format(cls, value: Any) -> Any:
        return _from_command_line(value)
