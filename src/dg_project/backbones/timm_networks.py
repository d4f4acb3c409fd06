"""timm networks as backbones: stages by feature pyramid, or by blocks for plain transformers."""

from __future__ import annotations

import difflib
import logging
from functools import cache
from typing import Any

import timm
import torch
from timm.layers import Format
from torch import nn

from dg_project.backbones.backbone import Body, End
from dg_project.backbones.layouts import ChannelsFirst, ChannelsLast, Layout, Tokens
from dg_project.backbones.pyramid import Pyramid, evenly_spaced
from dg_project.backbones.weights import load_timm
from dg_project.core.errors import CheckpointError, ParameterError, nearest

SHORT_NAMES = {
    "vit_tiny": "vit_tiny_patch16_224",
    "vit_small": "vit_small_patch16_224",
    "vit_base": "vit_base_patch16_224",
    "swin_tiny": "swin_tiny_patch4_window7_224",
    "dinov2_small": "vit_small_patch14_dinov2",
    "dinov2_base": "vit_base_patch14_dinov2",
    # OpenAI trained with QuickGELU; timm's network without it in the name computes GELU.
    "clip_vit_base": "vit_base_patch16_clip_quickgelu_224.openai",
}
"""Short name -> timm name."""

SOURCES = ("hf-hub:", "local-dir:")
ANY_SIZE: tuple[dict[str, bool], ...] = ({"dynamic_img_size": True}, {"strict_img_size": False}, {})
"""Options to accept images of any size, for plain transformers, windowed transformers and convolutional networks."""

# timm warns that a feature pyramid does not use the classifier's weights, as intended.
logging.getLogger("timm.models._builder").setLevel(logging.ERROR)


def timm_body(name: str, weights: str | None) -> Body:
    """Build a timm network and find its stages.

    Args:
        name: a timm name with or without the tag of its weights, a short name, ``hf-hub:<owner>/<model>`` or
            ``local-dir:<folder>``.
        weights: see ``build_backbone``.

    Raises:
        ParameterError: unknown network, or one without stages.
        CheckpointError: the weights cannot be read or do not belong to the network.
    """
    name = SHORT_NAMES.get(name, name)
    outline, options = (_outline if name.startswith(SOURCES) else _outline_once)(name)  # a folder may change
    strides = {info["reduction"] for info in outline.feature_info}
    if "dynamic_img_size" in options and len(strides) == 1:
        return _plain(name, weights, options)
    return _hierarchical(name, weights, options)


def _outline(name: str) -> tuple[Any, dict[str, bool]]:
    """Return the network on the meta device, and its options to accept images of any size."""
    if not name.startswith(SOURCES) and not timm.is_model(name):
        known = [*SHORT_NAMES, *timm.list_models()]
        close = difflib.get_close_matches(name, known, cutoff=0.5)
        raise ParameterError(f"backbone.name: timm knows no network '{name}'.{nearest(name, close or SHORT_NAMES)} "
                             "timm.list_models() has them all")
    for options in ANY_SIZE:
        try:
            with torch.device("meta"):
                return timm.create_model(name, **options), options
        except TypeError as error:
            reason: Exception = error
        except (RuntimeError, OSError, ValueError) as error:
            raise _cannot_create(name, error) from error
    raise ParameterError(f"backbone.name: timm cannot build '{name}': {reason}")


_outline_once = cache(_outline)


def _cannot_create(name: str, error: Exception) -> Exception:
    if name.startswith(SOURCES):
        return CheckpointError(f"backbone.name: '{name}' cannot be read ({error}); check the name and the network, or "
                               "give timm's own name and the path of the weights")
    architecture, _, tag = name.partition(".")
    tags = [known.partition(".")[2] for known in timm.list_pretrained(f"{architecture}.*")]
    if tag and tag not in tags:
        return ParameterError(f"backbone.name: timm's '{architecture}' has no weights '{tag}'.{nearest(tag, tags)}")
    return ParameterError(f"backbone.name: timm cannot build '{name}': {error}")


def _plain(name: str, weights: str | None, options: dict[str, bool]) -> Body:
    network = load_timm(name, weights, **options)
    network.prune_intermediate_layers([len(network.feature_info) - 1], prune_norm=False, prune_head=True)
    patch = network.feature_info[0]["reduction"]
    layout = Tokens(network.num_prefix_tokens, patch)
    ends = {stage: End(network.feature_info[block]["module"], layout)
            for stage, block in evenly_spaced(len(network.feature_info)).items()}
    config = network.pretrained_cfg
    return Body(network, ends, config["mean"], config["std"], patch, Pyramid(network.norm, patch))


def _hierarchical(name: str, weights: str | None, options: dict[str, bool]) -> Body:
    network = load_timm(name, weights, features_only=True, **options)
    layout = _layout(network)
    ends: dict[str, End] = {}
    for path, stride in zip(network.feature_info.module_name(), network.feature_info.reduction(), strict=True):
        stage = f"stage{stride.bit_length() - 1}"
        if stride.bit_count() != 1 or stage in ends:
            strides = network.feature_info.reduction()
            raise ParameterError(f"backbone.name: the stages of '{name}' have the strides {strides}, not one power of "
                                 "two each; choose another network")
        if stride > 1:
            ends[stage] = End(_path(network, path, name), layout)
    config = network.pretrained_cfg
    windows = network.patch_embed.patch_size[0] if options else 1
    return Body(network, ends, config["mean"], config["std"], windows)


def _layout(network: nn.Module) -> Layout:
    """Return the layout of the stage outputs; some wrappers keep the network in ``model``."""
    output = getattr(getattr(network, "model", network), "output_fmt", None)
    return ChannelsLast() if output is not None and Format(output) is Format.NHWC else ChannelsFirst()


def _path(network: nn.Module, path: str, name: str) -> str:
    """Return the module name of a stage in timm's wrapper, which may flatten ``stages.0`` or prefix ``model``."""
    modules = dict(network.named_modules())
    for end in (path, path.replace(".", "_"), f"model.{path}"):
        if end in modules:
            return end
    raise ParameterError(f"backbone.name: '{name}' does not name the layer that ends each of its stages; choose "
                         "another network")
