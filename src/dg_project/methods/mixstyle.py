"""MixStyle (Zhou et al., ICLR 2021): mix the feature statistics of images in early stages."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from pydantic import Field

from dg_project.config import Fraction, Params
from dg_project.methods.base import Needs
from dg_project.methods.erm import ERM
from dg_project.ops.mixstyle import StyleMixer
from dg_project.tasks.base import TaskModel


class MixStyleParams(Params):
    """Place, probability and strength of the mixing."""

    p: Fraction = Field(0.5, description="probability of mixing, per stage and step")
    alpha: float = Field(0.1, gt=0, description="the mixing weights are drawn from Beta(alpha, alpha)")
    stages: list[int] = Field([2, 3], min_length=1, description="backbone stages after which MixStyle acts")


class MixStyle(ERM):
    """ERM with ``σ_mix (F - μ)/σ + μ_mix`` after early stages, ``μ_mix = w μ + (1 - w) μ'``, ``w ~ Beta(α, α)``."""

    name: ClassVar[str] = "mixstyle"
    needs: ClassVar[Needs] = Needs(other_batches=("mixed",))
    Params: ClassVar[type[Params]] = MixStyleParams
    params: MixStyleParams

    def __init__(self, model: TaskModel, params: MixStyleParams, domains: Sequence[str]) -> None:
        super().__init__(model, params, domains)
        self.mixer = StyleMixer(params.p, params.alpha)
        for stage in params.stages:
            model.backbone.tap(f"stage{stage}").module = self.mixer
