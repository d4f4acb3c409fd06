"""torchvision networks as backbones: those that are a sequence of layers, and vision transformers."""

from __future__ import annotations

from typing import Any

import torch
import torchvision
from timm.data import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD
from timm.layers import resample_abs_pos_embed
from torch import Tensor, nn
from torchvision.models import VisionTransformer
from torchvision.models.vision_transformer import interpolate_embeddings

from dg_project.backbones.backbone import PROBE, Body, End
from dg_project.backbones.layouts import ChannelsFirst, ChannelsLast, Tokens
from dg_project.backbones.pyramid import Pyramid, evenly_spaced
from dg_project.backbones.weights import does_not_fit, given_weights, no_download
from dg_project.core.errors import ParameterError, nearest


def torchvision_body(name: str, weights: str | None) -> Body:
    """Build a torchvision classifier, remove its head, and find its stages.

    Args:
        name: torchvision name.
        weights: see ``build_backbone``.

    Raises:
        ParameterError: unknown network, or one that is not a sequence of layers.
        CheckpointError: the weights cannot be read or do not belong to the network.
    """
    known = torchvision.models.list_models(module=torchvision.models)
    if name not in known:
        raise ParameterError(f"backbone.name: torchvision knows no network '{name}'.{nearest(name, known)}")
    model = _load(name, weights)
    if isinstance(model, VisionTransformer):
        return _plain(model)
    network = nn.Sequential(*_before_pooling(model))
    return Body(network, _stage_ends(network, name), IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD)


def _load(name: str, weights: str | None) -> nn.Module:
    try:
        model = torchvision.models.get_model(name, weights="DEFAULT" if weights == "hub" else None)
    except OSError as error:
        raise no_download(name, error) from error
    if weights not in (None, "hub"):
        state = given_weights(name, str(weights))
        try:
            if isinstance(model, VisionTransformer) and "encoder.pos_embedding" in state:
                state = interpolate_embeddings(model.image_size, model.patch_size, state)
            model.load_state_dict(state)
        except (RuntimeError, ValueError) as error:
            raise does_not_fit(name, str(weights), error) from error
    return model


class AnySize(nn.Module):
    """torchvision's vision transformer without its head, for images of any multiple of the patch size.

    torchvision's forward accepts only the pretraining size. Position embeddings are resampled by timm.
    """

    def __init__(self, model: VisionTransformer) -> None:
        super().__init__()
        self.conv_proj, self.class_token, self.encoder = model.conv_proj, model.class_token, model.encoder

    def forward(self, images: Tensor) -> Tensor:
        """Map images ``(B, 3, H, W)`` to tokens ``(B, 1 + h w, C)``."""
        patches = self.conv_proj(images)
        tokens = torch.cat([self.class_token.expand(len(images), -1, -1), patches.flatten(2).transpose(1, 2)], 1)
        position = resample_abs_pos_embed(self.encoder.pos_embedding, new_size=list(patches.shape[-2:]))
        return self.encoder.ln(self.encoder.layers(self.encoder.dropout(tokens + position)))


def _plain(model: Any) -> Body:
    blocks, layout = list(model.encoder.layers._modules), Tokens(1, model.patch_size)
    ends = {stage: End(f"encoder.layers.{blocks[index]}", layout)
            for stage, index in evenly_spaced(len(blocks)).items()}
    return Body(AnySize(model), ends, IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD, model.patch_size,
                Pyramid(model.encoder.ln, model.patch_size))


def _before_pooling(model: nn.Module) -> list[nn.Module]:
    """Return the layers before pooling and classifier, in order, with nested sequences unrolled."""
    layers: list[nn.Module] = []
    for child in model.children():
        if isinstance(child, nn.AdaptiveAvgPool2d | nn.Linear):
            break
        layers += _before_pooling(child) if isinstance(child, nn.Sequential) else [child]
    return layers


@torch.no_grad()
def _stage_ends(network: nn.Sequential, name: str) -> dict[str, End]:
    """Return the last layer of each stride above 1, measured with a square and a wider image."""
    network.eval()
    height, width = PROBE
    ends, square, wide = {}, torch.zeros(1, 3, height, height), torch.zeros(1, 3, height, width)
    for index, layer in enumerate(network):
        try:
            square, wide = layer(square), layer(wide)
            # Only the widths differ: the last dimension, or the third in channels-last layers.
            first = square.shape[3] != wide.shape[3]
            stride = height // wide.shape[2 if first else 1]
        except (RuntimeError, TypeError, IndexError, AttributeError) as error:
            raise ParameterError(f"backbone.name: torchvision's '{name}' is not a sequence of layers that read images "
                                 "of any size; choose the same network from timm") from error
        if stride > 1:
            ends[f"stage{stride.bit_length() - 1}"] = End(str(index), ChannelsFirst() if first else ChannelsLast())
    return ends
