"""Where trained models lie, and which version is the newest. Imports nothing heavy: a wrong folder is told at once."""

from __future__ import annotations

from pathlib import Path

from dg_project.core.errors import CheckpointError

WEIGHTS, CARD = "model.safetensors", "model.json"
"""Files of a model folder."""
MODELS = Path("data/06_models/model")
"""Where the pipelines keep the versions of the trained model, below the project folder."""


def newest_model(folder: Path) -> Path:
    """Return a model folder as it is, or the newest model in a folder of versions.

    Raises:
        CheckpointError: the folder does not exist, or holds no model.
    """
    if (folder / CARD).is_file():
        return folder
    found = [card.parent for pattern in (f"*/{CARD}", f"*/*/{CARD}") for card in folder.glob(pattern)]
    if found:
        return max(found, key=lambda model: model.relative_to(folder).as_posix())
    if folder == MODELS:
        raise CheckpointError(f"there is no trained model in '{folder}' yet: train one with `make run`, or name the "
                              "folder of a model")
    raise CheckpointError(f"'{folder}' holds no trained model; give a folder with '{CARD}' and '{WEIGHTS}', or one "
                          f"that keeps versions of it ({MODELS})")
