"""The trained model behind MLflow's ``pyfunc``: MLflow calls ``_load_pyfunc`` with the model's folder.

Nothing is pickled: the folder holds safetensors and JSON, and this module is found by its name. A request is a table
with one column ``image``: the bytes of an image file (over HTTP base64).
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
        folder: of the trained model.
        device: where it runs.
    """

    def __init__(self, folder: Path, device: str = "cpu") -> None:
        self.device = device
        self.method = load_model(folder, device)
        self.spec, _ = read_card(folder)
        self.scorer = SCORERS[self.spec.task]

    @torch.inference_mode()
    def predict(self, data: pd.DataFrame, params: dict[str, Any] | None = None) -> pd.DataFrame:
        """Return one row per image: the columns of the task's predictions table, and the names of the classes.

        Raises:
            DataError: there is no column ``image``, or a cell is no image file.
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
    """Refuse what a served model would leave out.

    Raises:
        ParameterError: the method asks the diffusion model when it predicts.
    """
    kind = method_classes()[read_card(model)[0].method]
    if kind.needs.ldm == "prediction":
        raise ParameterError(f"export.format 'mlflow': the method '{kind.name}' asks the diffusion model when it "
                             "predicts, which does not go with the exported model; use `kedro run --pipeline=predict`")


def encode(image: Tensor) -> bytes:
    """Return an image (3, H, W) uint8 as a request's cell: the bytes of a PNG."""
    stream = io.BytesIO()
    Image.fromarray(image.permute(1, 2, 0).numpy()).save(stream, "PNG")
    return stream.getvalue()


def _decoded(cell: Any, number: int) -> Tensor:
    try:
        content = base64.b64decode(cell, validate=True) if isinstance(cell, str) else bytes(cell)
        return read_image(io.BytesIO(content), rotate=True)
    except (*BROKEN, TypeError, binascii.Error) as error:
        raise DataError(f"row {number} of the request is no image file ({error}); send the bytes of a JPEG or PNG, "
                        "over HTTP as base64") from error


def _load_pyfunc(path: str) -> Served:
    return Served(Path(path))
