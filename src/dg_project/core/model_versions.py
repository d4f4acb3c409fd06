"""Where trained models lie, and which version is the newest. Imports nothing heavy: a wrong folder is told at once."""

from __future__ import annotations

from pathlib import Path

from dg_project.core.errors import CheckpointError

WEIGHTS, CARD = "model.safetensors", "model.json"
"""Files of a model folder."""
MODELS = Path("data/06_models/model")
"""Where the pipelines keep the versions of the trained model, below the project folder."""
ZOO = Path("data/06_models/zoo")
"""Models that ship with the project, by name; ``docs/models.md`` has their scores."""
FIRST = ZOO / "streets_drsf"
"""The shipped model that is used before a first one is trained."""


def newest_model(folder: Path) -> Path:
    """Return a model folder as it is, the newest model in a folder of versions, or a shipped model by its name.

    Raises:
        CheckpointError: the folder does not exist, or holds no model.
    """
    if (folder / CARD).is_file():
        return folder
    found = [card.parent for pattern in (f"*/{CARD}", f"*/*/{CARD}") for card in folder.glob(pattern)]
    if found:
        return max(found, key=lambda model: model.relative_to(folder).as_posix())
    if folder.parts[-len(MODELS.parts):] == MODELS.parts:
        shipped = folder.parents[len(MODELS.parts) - 1] / FIRST
        if (shipped / CARD).is_file():
            return shipped
        raise CheckpointError(f"there is no trained model in '{folder}' yet: train one with `make run`, or name the "
                              "folder of a model")
    if not folder.is_absolute() and (ZOO / folder / CARD).is_file():
        return ZOO / folder
    names = sorted(card.parent.name for card in ZOO.glob(f"*/{CARD}"))
    raise CheckpointError(f"'{folder}' holds no trained model; give a folder with '{CARD}' and '{WEIGHTS}', or one "
                          f"that keeps versions of it ({MODELS})"
                          + (f", or the name of a shipped model ({', '.join(names)})" if names else ""))


def is_shipped(folder: Path) -> bool:
    """Return whether a model folder is one of the shipped ones."""
    return folder.parent.parts[-len(ZOO.parts):] == ZOO.parts
