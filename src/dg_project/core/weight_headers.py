"""Names and shapes of the weights in safetensors files, read from their headers, and what a network expects."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path

from safetensors import SafetensorError, safe_open

from dg_project.core.errors import CheckpointError

POSITIONS = "position_ids"
"""Ending of an entry that earlier versions of transformers stored and present ones compute."""
Shapes = dict[str, tuple[int, ...]]


def read_shapes(file: Path) -> Shapes:
    """Return the name and shape of every tensor of a safetensors file, or of all shards that its index names.

    Args:
        file: ``.safetensors``, or its ``.safetensors.index.json``.

    Raises:
        CheckpointError: a file is missing or its header is broken.
    """
    try:
        if file.suffix == ".json":
            shards = sorted(set(json.loads(file.read_text())["weight_map"].values()))
            return {name: shape for shard in shards for name, shape in read_shapes(file.with_name(shard)).items()}
        with safe_open(file, "numpy") as header:
            return {name: tuple(header.get_slice(name).get_shape()) for name in header.keys()}  # noqa: SIM118
    except (OSError, ValueError, KeyError, AttributeError, TypeError, SafetensorError) as error:
        raise CheckpointError(f"'{file}' is missing or broken ({error}); copy the complete checkpoint again") from error


def compare_shapes(stored: Shapes, expected: Mapping[str, tuple[int, ...]], where: str,
                   name: Callable[[str], str] = str) -> None:
    """Check that stored weights are those of a network: a library would fill in random ones for what is missing.

    Args:
        stored: from ``read_shapes``.
        expected: name -> shape of the network's parameters.
        where: file or folder, for the message.
        name: function that maps names of other versions of the library onto one.

    Raises:
        CheckpointError: weights are missing, unexpected or of another size.
    """
    have = {name(key): math.prod(shape) for key, shape in stored.items() if not key.endswith(POSITIONS)}
    need = {name(key): math.prod(shape) for key, shape in expected.items()}
    missing, unexpected = sorted(need.keys() - have.keys()), sorted(have.keys() - need.keys())
    other = sorted(key for key in need.keys() & have.keys() if need[key] != have[key])
    refuse(missing, unexpected, other, where)


def refuse(missing: list[str], unexpected: list[str], other: list[str], where: str) -> None:
    """Raise ``CheckpointError`` if any of the lists of weights has an entry."""
    kinds = {"are missing": missing, "are not part of the network": unexpected, "have another shape": other}
    told = [f"{len(names)} weights {what} (such as '{names[0]}')" for what, names in kinds.items() if names]
    if told:
        raise CheckpointError(f"{where}: {', '.join(told)}; the file belongs to another network or is incomplete: copy "
                              "the complete checkpoint again")
