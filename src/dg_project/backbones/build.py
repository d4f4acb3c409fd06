"""Backbones by name: every timm network with a feature pyramid, every sequential torchvision network."""

from __future__ import annotations

import logging
import math
from pathlib import Path
from typing import Any

import timm
import torch
import torchvision
from timm.data import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD
from torch import nn

from dg_project.backbones.backbone import Backbone, Body
from dg_project.backbones.weights import package_weights, read_weights
from dg_project.errors import CheckpointError, ParameterError, nearest
from dg_project.parameters import BackboneParams

TORCHVISION = "torchvision/"

# timm warns that a pyramid does not use the classifier's weights, which is the point of a pyramid.
logging.getLogger("timm.models._builder").setLevel(logging.ERROR)


def build_backbone(params: BackboneParams) -> Backbone:
    """Build the backbone that the parameters name, with its weights.

    Args:
        params: ``name`` is a timm name (``tf_efficientnet_lite0``) or ``torchvision/<name>``; ``weights`` is
            ``package`` (from an installed package), the path of a state dict, ``hub`` (the library downloads them)
            or None (random).

    Raises:
        ParameterError: the name is unknown, or the network has no convolutional stages.
        CheckpointError: the weights cannot be read or do not belong to the network.
    """
    torchvision_name = params.name.removeprefix(TORCHVISION)
    if torchvision_name != params.name:
        body = _torchvision_body(torchvision_name, params.weights)
    else:
        body = _timm_body(params.name, params.weights)
    return Backbone(body, params.frozen_stages, params.frozen_bn)


def _state(name: str, weights: str) -> dict[str, torch.Tensor]:
    return package_weights(name) if weights == "package" else read_weights(Path(weights))


def _timm_body(name: str, weights: str | None) -> Body:
    if not timm.is_model(name):
        known = timm.list_models()
        raise ParameterError(f"backbone.name: timm knows no network '{name}'.{nearest(name, known)}"
                             if len(name) > 2 else f"backbone.name: '{name}' is no timm network")
    network = timm.create_model(name, features_only=True, **_timm_weights(name, weights))
    modules = dict(network.named_modules())
    ends = {}
    for path, stride in zip(network.feature_info.module_name(), network.feature_info.reduction(), strict=True):
        # timm flattens 'stages.0' to 'stages_0' in some of its wrappers.
        end = path if path in modules else path.replace(".", "_")
        if end not in modules:
            raise ParameterError(f"backbone.name: '{name}' has no convolutional stages; choose a convolutional network")
        if stride > 1:
            ends[f"stage{int(math.log2(stride))}"] = end
    config = network.pretrained_cfg
    return Body(network, ends, config["mean"], config["std"])


def _timm_weights(name: str, weights: str | None) -> dict[str, Any]:
    if weights in (None, "hub"):
        return {"pretrained": weights == "hub"}
    try:
        # The whole classifier loads strictly; its pyramid would silently keep random weights for names it lacks.
        given = {"state_dict": _state(name, str(weights))}
        whole = timm.create_model(name, pretrained=True, pretrained_cfg_overlay=given)
    except (RuntimeError, KeyError) as error:
        raise CheckpointError(f"backbone.weights: '{weights}' does not fit '{name}': {error}") from error
    return {"pretrained": True, "pretrained_cfg_overlay": {"state_dict": whole.state_dict()}}


def _torchvision_body(name: str, weights: str | None) -> Body:
    known = torchvision.models.list_models(module=torchvision.models)
    if name not in known:
        raise ParameterError(f"backbone.name: torchvision knows no network '{name}'.{nearest(name, known)}")
    model = torchvision.models.get_model(name, weights="DEFAULT" if weights == "hub" else None)
    if weights not in (None, "hub"):
        try:
            model.load_state_dict(_state(name, str(weights)))
        except RuntimeError as error:
            raise CheckpointError(f"backbone.weights: '{weights}' does not fit '{name}': {error}") from error
    network = nn.Sequential(*_convolutional_part(model))
    return Body(network, _stage_ends(network, name), IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD)


def _convolutional_part(model: nn.Module) -> list[nn.Module]:
    """Return the layers before pooling and classifier, in order, with nested sequences unrolled."""
    layers: list[nn.Module] = []
    for child in model.children():
        if isinstance(child, nn.AdaptiveAvgPool2d | nn.Linear):
            break
        layers += _convolutional_part(child) if isinstance(child, nn.Sequential) else [child]
    return layers


@torch.no_grad()
def _stage_ends(network: nn.Sequential, name: str) -> dict[str, str]:
    """Return the last layer of each stride above 1, found by passing one image through."""
    network.eval()
    ends, features = {}, torch.zeros(1, 3, 64, 64)
    for index, layer in enumerate(network):
        try:
            features = layer(features)
        except (RuntimeError, TypeError) as error:
            raise ParameterError(f"backbone.name: torchvision's '{name}' is not a sequence of layers; "
                                 "choose the same network from timm") from error
        stride = 64 // features.shape[2]
        if stride > 1:
            ends[f"stage{int(math.log2(stride))}"] = str(index)
    return ends
