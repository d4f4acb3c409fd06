"""A common interface for all networks: named stages, with a tap at the end of each."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from dg_project.backbones.folding import Pair, fold, followed_by_norm, unfold
from dg_project.backbones.layouts import Layout
from dg_project.backbones.pyramid import Pyramid
from dg_project.core.errors import ParameterError, nearest

StageMap = Callable[[Tensor], Tensor]
PROBE = (64, 96)
"""Height and width of the image that a new backbone is tested with."""


class Tap:
    """The end of a stage, where a method can transform the features.

    Attributes:
        module: callable on features ``(B, C, h, w)`` that returns the same shape, applied to the stage's output before
            the following layers; None leaves the output unchanged. The method, not the tap, registers the module.
    """

    def __init__(self) -> None:
        self.module: StageMap | None = None


@dataclass(frozen=True)
class End:
    """The end of a stage: dotted name of its last submodule, and the layout of its output."""

    module: str
    layout: Layout


@dataclass(frozen=True)
class Body:
    """A network of a library with the information needed to read its stages.

    Attributes:
        network: takes images ``(B, 3, H, W)``; only the outputs of its stages are used.
        ends: stage name -> end of the stage, finest first.
        mean: channel means expected by the weights, for images in [0, 1].
        std: channel standard deviations expected by the weights.
        multiple: images are padded at the bottom and right to a multiple of this, with the mean colour.
        pyramid: resamples the stages of a plain vision transformer; its taps see the stride of the patches.
    """

    network: nn.Module
    ends: dict[str, End]
    mean: Sequence[float]
    std: Sequence[float]
    multiple: int = 1
    pyramid: Pyramid | None = None


class Backbone(nn.Module):
    """A network that returns its stages; ``stage<n>`` has stride ``2**n``.

    Args:
        body: the network and the ends of its stages.
        frozen_stages: freeze the stem and all stages up to this number, including their dropout; ``all`` freezes the
            whole network, including layers after the last stage.
        frozen_bn: freeze the ImageNet statistics and affine parameters of batch normalisation. Layer normalisation
            has no statistics and trains like any other layer.

    Frozen batch normalisation is folded into the convolution before it; see ``folding``.

    Attributes:
        channels: channels by stage name.
        strides: strides in pixels by stage name.

    Raises:
        ParameterError: the stages do not return maps of the strides in their names.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, body: Body, frozen_stages: int | Literal["all"] = 0, frozen_bn: bool = True) -> None:
        super().__init__()
        self.network = body.network
        self.frozen_bn = frozen_bn
        self._ends, self._multiple, self._pyramid = body.ends, body.multiple, body.pyramid
        self._taps = {stage: Tap() for stage in body.ends}
        self._outputs: OrderedDict[str, Tensor] = OrderedDict()
        self._size = PROBE
        self._still: list[nn.Module] = []
        for stage, end in body.ends.items():
            # Unlike a closure, a partial of a bound method refers to the copy after a deep copy.
            self.network.get_submodule(end.module).register_forward_hook(partial(self._end_of_stage, stage))
        self.register_buffer("mean", torch.tensor(body.mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(body.std).view(1, 3, 1, 1), persistent=False)
        self.strides = {stage: 2 ** int(stage.removeprefix("stage")) for stage in body.ends}
        self.channels = self._measure()
        self._freeze(frozen_stages)
        self._still = self._frozen_modules()
        self._folded = self._fold()
        self.train()

    def _end_of_stage(self, stage: str, module: nn.Module, inputs: object, output: Tensor) -> Tensor | None:
        layout, tap = self._ends[stage].layout, self._taps[stage].module
        features = layout.fold(output, self._size)
        if tap is None:
            self._outputs[stage] = features
            return None
        self._outputs[stage] = tap(features)
        return layout.unfold(self._outputs[stage], output)

    @torch.no_grad()
    def _measure(self) -> dict[str, int]:
        """Return the channels of each stage, measured with one image."""
        self.eval()
        outputs = self(torch.zeros(1, 3, *PROBE))
        for stage, stride in self.strides.items():
            shape = outputs[stage].shape if stage in outputs else ()
            if len(shape) != 4 or any(abs(n - length / stride) >= 1
                                      for n, length in zip(shape[-2:], PROBE, strict=True)):
                raise ParameterError(f"the network's {stage} is not a map of stride {stride}: an image of {PROBE[0]} x "
                                     f"{PROBE[1]} pixels gives {tuple(shape) or 'nothing'}")
        return {stage: outputs[stage].shape[1] for stage in self.strides}

    @torch.enable_grad()
    def _freeze(self, frozen_stages: int | Literal["all"]) -> None:
        if frozen_stages == "all":
            self.network.requires_grad_(False)
            return
        for module in self.network.modules():
            if self._is_frozen_bn(module):
                module.requires_grad_(False)
        frozen = [features for stage, features in self._maps(torch.zeros(1, 3, *PROBE)).items()
                  if self.strides[stage] <= 2**frozen_stages]
        if not frozen:
            return
        # The weights that a stage's output depends on are exactly those up to it, for any network.
        trainable = [weight for weight in self.network.parameters() if weight.requires_grad]
        gradients = torch.autograd.grad(frozen[-1].sum(), trainable, allow_unused=True)
        for weight, gradient in zip(trainable, gradients, strict=True):
            if gradient is not None:
                weight.requires_grad_(False)

    def _is_frozen_bn(self, module: nn.Module) -> bool:
        return self.frozen_bn and isinstance(module, _BatchNorm)

    @torch.no_grad()
    def _fold(self) -> list[Pair]:
        """Fold frozen batch normalisation; a network whose convolutions have other readers stays as it is."""
        self.eval()
        probe = torch.linspace(-1, 1, 3 * PROBE[0] * PROBE[1]).view(1, 3, *PROBE)
        before = self._maps(probe)
        ends = {self.network.get_submodule(end.module) for end in self._ends.values()}
        norms = [module for module in self.network.modules() if self._is_frozen_bn(module)]
        pairs = [pair for pair in followed_by_norm(self.network, norms, partial(self._maps, probe))
                 if pair[0] not in ends]
        fold(pairs)
        after = self._maps(probe)
        if all(torch.allclose(after[stage], value, rtol=1e-3, atol=1e-3 * float(value.abs().max()))
               for stage, value in before.items()):
            return pairs
        unfold(pairs)
        return []

    def compile_network(self) -> None:
        """Compile the network with ``torch.compile`` at its next call; names of weights stay what they are."""
        self.network.compile(dynamic=False)

    def unfold(self) -> None:
        """Give batch normalisation its own pass again, for methods that change its statistics."""
        unfold(self._folded)
        self._folded = []

    def _frozen_modules(self) -> list[nn.Module]:
        """Return the modules without trainable weights."""
        weights = {module: list(module.parameters()) for module in self.network.modules()}
        return [module for module, own in weights.items()
                if self._is_frozen_bn(module) or (own and not any(weight.requires_grad for weight in own))]

    def _maps(self, images: Tensor) -> OrderedDict[str, Tensor]:
        """Return the features after the taps, ``(B, C, h, w)`` by stage."""
        height, width = images.shape[-2:]
        padding = (0, -width % self._multiple, 0, -height % self._multiple)
        images = F.pad(images, padding) if any(padding) else images
        self._size = (images.shape[-2], images.shape[-1])
        self._outputs = OrderedDict()
        self.network(images)
        outputs, self._outputs = self._outputs, OrderedDict()
        return outputs

    def forward(self, images: Tensor) -> OrderedDict[str, Tensor]:
        """Map normalised images ``(B, 3, H, W)`` to ``stage<n>: (B, C_n, H / 2**n, W / 2**n)``, finest first.

        If a size is not a multiple of the stride, most networks round up (the last cells see the padding), some down.
        """
        maps = self._maps(images)
        return maps if self._pyramid is None else self._pyramid(maps, (images.shape[-2], images.shape[-1]))

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
        """Set the training mode; frozen modules stay in evaluation mode."""
        super().train(mode)
        for module in self._still:
            module.eval()
        return self
