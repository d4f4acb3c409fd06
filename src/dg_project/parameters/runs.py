"""How a model is trained, scored, shown and compared."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, field_validator

from dg_project.parameters.base import Fraction, Params


class TrainingParams(Params):
    """The loop, the same for every method."""

    max_steps: int = Field(300, ge=1)
    images_per_step: int = Field(6, ge=1, description="the same for every method: source plus pseudo images")
    lr: float = Field(2e-3, gt=0)
    head_lr_factor: float = Field(1.0, gt=0)
    optimizer: Literal["sgd", "adamw"] = "adamw"
    weight_decay: float = Field(1e-4, ge=0)
    momentum: Fraction = 0.9
    warmup_steps: int = Field(30, ge=0)
    schedule: Literal["constant", "cosine", "step", "poly"] = Field(
        "cosine", description="step: x0.1 at 1/2 and at 2/3 of the steps; poly: (1 - t)^0.9")
    grad_clip: float | None = Field(10.0, gt=0)
    ema: Fraction | None = Field(None, description="decay of the weight average that predicts; None is off")
    flip: Fraction = 0.5
    checkpoint_every: int = Field(50, ge=1)
    validate_every: int = Field(100, ge=1)
    selection: Literal["source_val", "last"] = "source_val"
    device: str = Field("auto", description="auto | cpu | cuda | cuda:1 | mps")
    threads: int | None = Field(None, ge=1, description="torch threads; None keeps torch's own choice")


class EvaluationParams(Params):
    """Where and how a trained model is scored."""

    max_images: int | None = Field(None, ge=1, description="first n images of each test split")
    batch_size: int = Field(4, ge=1)


class ReportingParams(Params):
    """Pictures of a run."""

    panel_scenes: int = Field(3, ge=1, description="test scenes shown in every domain")
    feature_images: int = Field(40, ge=4, description="images per domain in the feature-shift figure")
    score_threshold: Fraction = 0.5


class BenchmarkParams(Params):
    """methods x seeds -> one table."""

    methods: list[str] = Field(["erm", "mixstyle", "naive", "drsf"], min_length=1)
    seeds: list[int] = Field([0, 1, 2], min_length=1)
    confidence: Fraction = 0.95

    @field_validator("methods", "seeds", mode="before")
    @classmethod
    def _from_command_line(cls, value: Any) -> Any:
        """Lists without commas, where ``--params`` splits: ``seeds=5`` is five seeds, ``erm+drsf`` two methods."""
        if isinstance(value, int):
            return list(range(value))
        return value.split("+") if isinstance(value, str) else value

    @field_validator("methods")
    @classmethod
    def _with_baseline(cls, methods: list[str]) -> list[str]:
        if "erm" not in methods:
            raise ValueError("gains are taken against 'erm': add it to the methods")
        return methods
