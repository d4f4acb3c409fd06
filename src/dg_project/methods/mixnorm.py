"""MixNorm (Hu et al. 2021, arXiv 2110.11478): at test time, batch normalisation mixes source and image statistics."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from dg_project.config import Fraction, Params
from dg_project.core.errors import ParameterError
from dg_project.methods.erm import ERM
from dg_project.tasks.base import Prediction, TaskModel


class MixNormParams(Params):
    """Weight of the source statistics."""

    source_share: Fraction = Field(0.97, description="weight of source statistics; 1: ERM, 0: instance normalisation")


def mix_statistics(features: Tensor, mean: Tensor, variance: Tensor, share: float, eps: float) -> Tensor:
    """Return x' such that batch normalisation of x' equals normalisation of x with mixed statistics.

    ``(x' - μ) / σ = (x - μ_mix) / σ_mix`` with ``μ_mix = m μ + (1 - m) μ_x`` and ``σ²_mix = m σ² + (1 - m) σ²_x``;
    μ_x and σ²_x are taken over the positions of one channel of one image.

    Args:
        features: x (N, C, H, W).
        mean: μ (C,) of the source.
        variance: σ² (C,) of the source.
        share: m.
        eps: added to both variances.
    """
    mean, variance = mean.view(1, -1, 1, 1), variance.view(1, -1, 1, 1)
    own, spread = features.mean((2, 3), keepdim=True), features.var((2, 3), correction=0, keepdim=True)
    mixed_mean = share * mean + (1 - share) * own
    mixed_variance = share * variance + (1 - share) * spread
    return (features - mixed_mean) * ((variance + eps) / (mixed_variance + eps)).sqrt() + mean


class MixNorm(ERM):
    """ERM; at test ``μ = m μ_source + (1 - m) μ_x``, and so for ``σ²``, for each image by itself."""

    name: ClassVar[str] = "mixnorm"
    Params: ClassVar[type[Params]] = MixNormParams
    params: MixNormParams

    def __init__(self, model: TaskModel, params: MixNormParams, domains: Sequence[str]) -> None:
        super().__init__(model, params, domains)
        model.backbone.unfold()
        self._norms = [m for m in model.backbone.modules() if isinstance(m, _BatchNorm) and m.running_mean is not None]
        if not self._norms:
            raise ParameterError("mixnorm mixes the statistics of batch normalisation, but this backbone has none; "
                                 "choose a convolutional backbone.name, or another method")

    def predict(self, images: Sequence[Tensor]) -> list[Prediction]:
        """Predict images (3, h, w) in [0, 1] of any size, with mixed statistics."""
        with self._mixing():
            return super().predict(images)

    @contextmanager
    def _mixing(self) -> Any:
        handles = [norm.register_forward_pre_hook(partial(_mixed, self.params.source_share)) for norm in self._norms]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()


@torch.no_grad()
def _mixed(share: float, norm: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
    statistics: Any = norm
    return (mix_statistics(inputs[0], statistics.running_mean, statistics.running_var, share, statistics.eps),
            *inputs[1:])
