"""Parameters of training, evaluation and reporting."""

from __future__ import annotations

from typing import Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from dg_project.config.base import Fraction, OptionalNames, Params, Seeds, counted, listed


class TrainingParams(Params):
    """The training loop, the same for every method."""

    max_steps: int = Field(300, ge=1)
    images_per_step: int = Field(6, ge=1, description="source plus pseudo images, the same for every method")
    adapt_per_step: int = Field(2, ge=1, description="additional unlabelled target images, for UDA methods")
    lr: float = Field(6e-4, gt=0)
    head_lr_factor: float = Field(1.0, gt=0)
    optimizer: Literal["sgd", "adamw"] = "adamw"
    weight_decay: float = Field(1e-4, ge=0)
    momentum: Fraction = 0.9
    warmup_steps: int = Field(30, ge=0)
    schedule: Literal["constant", "cosine", "step", "poly"] = Field(
        "cosine", description="step: x0.1 at 1/2 and at 2/3 of the steps; poly: (1 - t)^0.9")
    grad_clip: float | None = Field(10.0, gt=0)
    ema: Fraction | None = Field(None, description="decay of the predicting weight average; None: off")
    flip: Fraction = 0.5
    batches: Literal["source", "mixed", "paired", "halves", "apart"] | None = Field(None, description=(
        "images of a step; None: what the method says. mixed trains a method of the source on pseudo images too"))
    source_share: float | None = Field(0.5, gt=0, lt=1, description=(
        "share of source images in mixed batches (naive mixing, DRSF); None: every image is equally likely"))
    pairs_per_step: int = Field(0, ge=0, description="source images of a paired batch with their pseudo images; the "
                                                     "rest of the batch is drawn as in naive mixing")
    pseudo_per_source: int = Field(1, ge=1, description="pseudo images per source image of a pair")
    checkpoint_every: int = Field(50, ge=1)
    validate_every: int = Field(100, ge=1)
    selection: Literal["source_val", "leave_one_pseudo_out", "last"] = Field(
        "source_val", description="rule to choose the weights, without target images; see training.selection")
    keep_validated: bool = Field(False, description="keep the weights of every validation, to compare them on the "
                                                    "targets with `kedro run --pipeline=target_oracle`")
    held_out_share: float = Field(0.2, gt=0, lt=1, description="leave_one_pseudo_out: share of scenes with pseudo "
                                                               "images held out to choose the weights")
    device: str = Field("auto", description="auto | cpu | cuda | cuda:1 | mps")
    threads: int | None = Field(None, ge=1, description="torch threads; None: torch's default")
    precision: Literal["float32", "bfloat16", "float16"] = Field("float32", description="dtype of matrix operations")
    compile: bool = Field(False, description="compile the backbone with torch.compile before the first step")
    accumulate: int = Field(1, ge=1, description="micro-batches per step, computed one after another or by several "
                                                 "processes")
    processes: int = Field(1, ge=1, description="processes that share the micro-batches, one GPU each")

    @model_validator(mode="after")
    def _shared_out(self) -> Self:
        if self.accumulate > self.images_per_step:
            raise ValueError(f"accumulate {self.accumulate} splits a step of {self.images_per_step} images into more "
                             "micro-batches than images: lower it, or raise images_per_step")
        if self.accumulate % self.processes:
            raise ValueError(f"accumulate {self.accumulate} micro-batches cannot be shared by {self.processes} "
                             f"processes: set accumulate to {self.processes} or a multiple")
        return self

    @field_validator("selection", mode="before")
    @classmethod
    def _no_oracle(cls, rule: Any) -> Any:
        if rule == "target_oracle":
            raise ValueError("target_oracle chooses by the scores of target images, which no training may open; use "
                             "source_val or leave_one_pseudo_out, and to see what it would have chosen "
                             "training.keep_validated=true, then `kedro run --pipeline=target_oracle`")
        return rule


class EvaluationParams(Params):
    """Scoring of a trained model."""

    max_images: int | None = Field(None, ge=1, description="n images of each test split, spread over folders")
    batch_size: int = Field(4, ge=1)
    groups: dict[str, list[str]] = Field({}, description="name -> unseen domains whose mean tables show as well")


class ReportingParams(Params):
    """Figures of a run."""

    panel_scenes: int = Field(3, ge=1, description="test scenes to show in every domain")
    feature_images: int = Field(40, ge=4, description="images per domain in the feature-shift figure")
    score_threshold: Fraction = 0.5


class LeaveOneOutParams(Params):
    """Leave-one-domain-out over image folders ``<domain>/<class>/<image>`` below ``data.root``."""

    methods: OptionalNames = Field(None, description="None: ERM and params:method")
    domains: OptionalNames = Field(None, description="None: every folder of data.root")
    classes: OptionalNames = Field(None, description="None: all class folders")
    train_share: float = Field(0.8, gt=0, lt=1, description="share of a source domain for training; the rest validates")
    images_per_domain: int = Field(8, ge=1, description="images per source domain and step")
    seeds: Seeds = Field([0, 1, 2], min_length=1)
    confidence: Fraction = 0.95

    _listed = field_validator("methods", "domains", "classes", mode="before")(listed)
    _counted = field_validator("seeds", mode="before")(counted)


class GateCalibrationParams(Params):
    """Calibration of ``sampling.gate.min_visibility`` by what a model trained on the source still finds."""

    share: Fraction = Field(0.25, description="share of the boxes of a visibility that must be found again, "
                                              "relative to that of the most visible boxes")
    score_threshold: Fraction = Field(0.5, description="detections with lower scores do not count as found")


class UDAParams(Params):
    """Methods of ``--pipeline=uda``, which may use unlabelled target images."""

    method: str = Field("drsf_uda", description="UDA method")
    baseline: str = Field("mic", description="method to compare with")
