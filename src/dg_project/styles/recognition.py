"""The optional CLIP filter of the label-fidelity gate: does a crop of every box still look like its label?

The DRSF paper filters its generated boxes by CLIP; how is left open. Here a box is recognised when CLIP gives its own
class at least a certain probability among all classes of the data.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from dg_project.errors import CheckpointError

PROMPT = "a photo of a {}"
REMEDY = "sampling.gate.clip must be the folder or hub name of a CLIP model of the package transformers, or null"


def check_clip(checkpoint: str) -> None:
    """Look whether a local folder may be a CLIP model; a hub name is fetched when it is needed.

    Raises:
        CheckpointError: it is something else.
    """
    folder = Path(checkpoint)
    if not folder.exists() and checkpoint.count("/") == 1:
        return
    try:
        kind = json.loads((folder / "config.json").read_text()).get("model_type")
    except (OSError, ValueError) as error:
        raise CheckpointError(f"'{checkpoint}' is no CLIP model: it has no readable config.json. {REMEDY}") from error
    if kind != "clip":
        raise CheckpointError(f"'{checkpoint}' is no CLIP model but '{kind}'. {REMEDY}")


class Recogniser:
    """CLIP as a classifier of box crops.

    Args:
        checkpoint: folder or hub name of a CLIP model.
        classes: class names; their order gives the labels 1..C.
        device: where it runs.

    Raises:
        CheckpointError: it cannot be opened.
    """

    def __init__(self, checkpoint: str, classes: Sequence[str], device: torch.device) -> None:
        from transformers import CLIPModel, CLIPProcessor

        check_clip(checkpoint)
        try:
            self._model: Any = CLIPModel.from_pretrained(checkpoint).to(device).eval()
            self._processor: Any = CLIPProcessor.from_pretrained(checkpoint)
        except Exception as error:
            raise CheckpointError(f"'{checkpoint}' cannot be opened ({type(error).__name__}). {REMEDY}") from error
        self._texts = [PROMPT.format(name) for name in classes]

    @torch.no_grad()
    def __call__(self, image: Tensor, boxes: Tensor, labels: Tensor) -> Tensor:
        """Return how probable every box's own class is, ``(n,)`` in 0..1.

        Args:
            image: ``(3, H, W)``, float 0..1.
            boxes: ``(n, 4)`` xyxy, absolute pixels.
            labels: ``(n,)``, 1..C.
        """
        if not len(boxes):
            return torch.zeros(0)
        pixels = (image * 255).round().to(torch.uint8)
        crops = [pixels[:, math.floor(y0):math.ceil(y1), math.floor(x0):math.ceil(x1)]
                 for x0, y0, x1, y1 in boxes.tolist()]
        given = self._processor(text=self._texts, images=crops, return_tensors="pt", padding=True,
                                input_data_format="channels_first")
        shares = self._model(**given.to(self._model.device)).logits_per_image.softmax(-1).cpu()
        return shares[torch.arange(len(labels)), labels - 1]
