"""One face for every convolutional network: named stages, and a tap at the end of each."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from dg_project.errors import ParameterError, nearest

StageMap = Callable[[Tensor], Tensor]


class Tap:
    """A place at the end of a stage where a method may put a map of the features.

    Attributes:
        module: callable ``F -> F`` of the same shape, applied to the stage's output; everything downstream sees its
            result. ``None`` leaves the network as it is. The tap does not own the module: the method registers it.
    """

    def __init__(self) -> None:
        self.module: StageMap | None = None


@dataclass(frozen=True)
class Body:
    """A network as its library gives it, and what is needed to read its stages.

    Attributes:
        network: maps images ``(B, 3, H, W)`` to anything; only the outputs of its stages are read.
        ends: stage name -> dotted name of the submodule whose output ends that stage.
        mean: channel means that the weights expect, for images in [0, 1].
        std: channel deviations that the weights expect.
    """

    network: nn.Module
    ends: dict[str, str]
    mean: Sequence[float]
    std: Sequence[float]


class Backbone(nn.Module):
    """A convolutional network that returns its stages, ``stage<n>`` being the one of stride ``2**n``.

    Args:
        body: the network and where its stages end.
        frozen_stages: the stem and all stages up to this number do not train.
        frozen_bn: batch normalisation keeps its ImageNet statistics and affine parameters.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, body: Body, frozen_stages: int = 0, frozen_bn: bool = True) -> None:
        super().__init__()
        self.network = body.network
        self.frozen_bn = frozen_bn
        self._taps = {stage: Tap() for stage in body.ends}
        self._outputs: OrderedDict[str, Tensor] = OrderedDict()
        for stage, end in body.ends.items():
            self.network.get_submodule(end).register_forward_hook(self._hook(stage))
        self.register_buffer("mean", torch.tensor(body.mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(body.std).view(1, 3, 1, 1), persistent=False)
        self._measure()
        self._freeze(frozen_stages)
        self.train()

    def _hook(self, stage: str) -> Callable[[nn.Module, object, Tensor], Tensor]:
        tap = self._taps[stage]

        def end_of_stage(module: nn.Module, inputs: object, output: Tensor) -> Tensor:
            result = output if tap.module is None else tap.module(output)
            self._outputs[stage] = result
            return result

        return end_of_stage

    @torch.no_grad()
    def _measure(self) -> None:
        """Fill ``channels`` and ``strides`` from one pass of a 64x64 image."""
        self.eval()
        outputs = self(torch.zeros(1, 3, 64, 64))
        self.channels = {stage: output.shape[1] for stage, output in outputs.items()}
        self.strides = {stage: 64 // output.shape[2] for stage, output in outputs.items()}

    @torch.enable_grad()
    def _freeze(self, frozen_stages: int) -> None:
        for norm in self._norms():
            if self.frozen_bn:
                norm.requires_grad_(False)
        frozen = [output for stage, output in self(torch.zeros(1, 3, 64, 64)).items()
                  if self.strides[stage] <= 2**frozen_stages]
        if not frozen:
            return
        # What a stage's output depends on is exactly what lies before it, whatever the network is built of.
        trainable = [(name, weight) for name, weight in self.network.named_parameters() if weight.requires_grad]
        gradients = torch.autograd.grad(frozen[-1].sum(), [weight for _, weight in trainable], allow_unused=True)
        for (_, weight), gradient in zip(trainable, gradients, strict=True):
            if gradient is not None:
                weight.requires_grad_(False)

    def _norms(self) -> list[nn.Module]:
        return [module for module in self.modules() if isinstance(module, _BatchNorm)]

    def forward(self, images: Tensor) -> OrderedDict[str, Tensor]:
        """Map normalised images ``(B, 3, H, W)`` to ``stage<n>: (B, C_n, H / 2**n, W / 2**n)``, finest first."""
        self._outputs = OrderedDict()
        self.network(images)
        outputs, self._outputs = self._outputs, OrderedDict()
        return outputs

    def normalise(self, images: Tensor) -> Tensor:
        """Map images in [0, 1] to the range that the weights were trained on."""
        return (images - self.mean) / self.std

    def tap(self, stage: str) -> Tap:
        """Return the tap at the end of a stage.

        Raises:
            ParameterError: the backbone has no such stage.
        """
        if stage not in self._taps:
            raise ParameterError(f"the backbone has no stage '{stage}'.{nearest(stage, self._taps)}")
        return self._taps[stage]

    @property
    def last(self) -> str:
        """Name of the deepest stage."""
        return next(reversed(self._taps))

    def train(self, mode: bool = True) -> Self:
        """Switch the mode; frozen batch normalisation stays with its stored statistics."""
        super().train(mode)
        for norm in self._norms():
            if self.frozen_bn or not all(weight.requires_grad for weight in norm.parameters()):
                norm.eval()
        return self
