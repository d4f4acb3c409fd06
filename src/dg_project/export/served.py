"""Serve a trained model as MLflow ``pyfunc``: MLflow calls ``_load_pyfunc`` with the model's folder.

Nothing is pickled: the folder contains safetensors and JSON, and MLflow imports this module by name. A request is a
table with one column ``image``: the bytes of an image file (base64 over HTTP).
"""

from __future__ import annotations

import base64
import binascii
import io
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from PIL import Image
from torch import Tensor

from dg_project.core.errors import DataError, ParameterError
from dg_project.data.images import BROKEN, read_image, to_float
from dg_project.evaluation.scorers import SCORERS
from dg_project.methods import method_classes
from dg_project.methods.model_folder import load_model, read_card

COLUMN = "image"


class Served:
    """A trained model that takes and returns tables.

    Args:
        folder: folder of the trained model.
        device: torch device.
    """

    def __init__(self, folder: Path, device: str = "cpu") -> None:
        self.device = device
        self.method = load_model(folder, device)
        self.spec, _ = read_card(folder)
        self.scorer = SCORERS[self.spec.task]

    @torch.inference_mode()
    def predict(self, data: pd.DataFrame, params: dict[str, Any] | None = None) -> pd.DataFrame:
        """Return one row per image: the columns of the task's predictions table, and the class names.

        Raises:
            DataError: the column ``image`` is missing, or a cell is not an image file.
        """
        if COLUMN not in data:
            raise DataError(f"the request has the columns {list(data.columns)}; give '{COLUMN}': the bytes of an image "
                            "file, over HTTP as base64")
        rows = []
        for number, cell in enumerate(data[COLUMN]):
            image = to_float(_decoded(cell, number).to(self.device))
            packed = self.scorer.pack(self.method.predict([image])[0])
            rows.append(packed | self._named(packed))
        return pd.DataFrame(rows)

    def _named(self, packed: dict[str, Any]) -> dict[str, Any]:
        if "probabilities" in packed:
            return {"class": self.spec.classes[int(np.argmax(packed["probabilities"]))]}
        return {"classes": [self.spec.classes[label - 1] for label in packed["labels"]]} if "labels" in packed else {}


def check_servable(model: Path) -> None:
    """Check that a model can be served without further files.

    Raises:
        ParameterError: the method needs the diffusion model to predict.
    """
    kind = method_classes()[read_card(model)[0].method]
    if kind.needs.ldm == "prediction":
        raise ParameterError(f"export.format 'mlflow': the method '{kind.name}' needs the diffusion model to "
                             "predict, which is not part of the exported model; use `kedro run --pipeline=predict`")


def encode(image: Tensor) -> bytes:
    """Return an image (3, H, W) uint8 as PNG bytes, a cell of a request."""
    stream = io.BytesIO()
    Image.fromarray(image.permute(1, 2, 0).numpy()).save(stream, "PNG")
    return stream.getvalue()


def _decoded(cell: Any, number: int) -> Tensor:
    try:
        content = base64.b64decode(cell, validate=True) if isinstance(cell, str) else bytes(cell)
        return read_image(io.BytesIO(content), rotate=True)
    except (*BROKEN, TypeError, binascii.Error) as error:
        raise DataError(f"row {number} of the request is not an image file ({error}); send the bytes of a JPEG or PNG, "
                        "over HTTP as base64") from error


def _load_pyfunc(path: str) -> Served:
    return Served(Path(path))
