"""A versioned model folder, shown by its card in Kedro-Viz."""

from __future__ import annotations

import json

from kedro_datasets._typing import JSONPreview

from dg_project.datasets.folder import FolderDataset
from dg_project.datasets.previews import NOT_MADE

_CARDS = ("model.json", "model_index.json", "export.json")


class ModelDataset(FolderDataset):
    """Weights and a JSON card: ``model.json``, ``model_index.json`` (diffusers) or ``export.json``."""

    def preview(self) -> JSONPreview:
        """Return the card."""
        if not self.exists():
            return JSONPreview(json.dumps(NOT_MADE))
        folder = self.load()
        card = next((folder / name for name in _CARDS if (folder / name).is_file()), None)
        content = json.loads(card.read_text()) if card else {"files": sorted(p.name for p in folder.iterdir())}
        return JSONPreview(json.dumps(content))
