"""Save a trained model as MLflow model: signature, input example, safetensors, source code; nothing pickled."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from importlib.metadata import requires, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

import dg_project

if TYPE_CHECKING:
    from torch import Tensor

    from dg_project.export.parity import ParityResult
    from dg_project.tasks.base import Prediction

_FRAME = ("kedro", "mlflow")
"""Requirements that a served model does not need."""


def save_pyfunc(model: Path, target: Path, example: Tensor) -> None:
    """Write the model as a folder that ``mlflow.pyfunc.load_model`` opens.

    Args:
        model: folder of the trained model.
        target: folder to write; an existing one is replaced.
        example: image (3, h, w) in [0, 1], used as input example.

    Raises:
        ParameterError: the method needs the diffusion model to predict.
    """
    import mlflow

    from dg_project.export.served import COLUMN, check_servable
    from dg_project.methods.model_folder import read_card

    check_servable(model)
    shutil.rmtree(target, ignore_errors=True)
    mlflow.pyfunc.save_model(
        target, loader_module="dg_project.export.served", data_path=str(model),
        code_paths=[str(Path(dg_project.__file__).parent)], signature=_signature(read_card(model)[0].task),
        input_example=pd.DataFrame({COLUMN: [_png(example)]}), pip_requirements=_requirements())


def open_pyfunc(folder: Path) -> Any:
    """Load the model with MLflow; return a function from images (3, h, w) in [0, 1] to predictions."""
    import mlflow

    from dg_project.export.served import COLUMN

    opened = mlflow.pyfunc.load_model(str(folder))

    def predict(images: Sequence[Tensor]) -> list[Prediction]:
        table = opened.predict(pd.DataFrame({COLUMN: [_png(image) for image in images]}))
        return [_prediction(row, image) for row, image in zip(table.to_dict("records"), images, strict=True)]

    return predict


def pyfunc_parity(model: Path, folder: Path, images: Sequence[Tensor]) -> ParityResult:
    """Compare the MLflow model, loaded from its folder, with the trained one."""
    from dg_project.export.parity import measure_parity
    from dg_project.methods.model_folder import load_model

    return measure_parity(load_model(model).predict, open_pyfunc(folder), images)


def _png(image: Tensor) -> bytes:
    import torch

    from dg_project.export.served import encode

    return encode((image * 255).round().to(torch.uint8))


def _signature(task: str) -> Any:
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, DataType, Schema
    from mlflow.types.schema import Array

    numbers, words = Array(DataType.double), Array(DataType.string)
    objects = [ColSpec(Array(numbers), "boxes"), ColSpec(Array(DataType.long), "labels"), ColSpec(numbers, "scores")]
    outputs = {
        "detection": [*objects, ColSpec(words, "classes")],
        "instance_segmentation": [*objects, ColSpec(words, "masks"), ColSpec(words, "classes")],
        "segmentation": [ColSpec(DataType.binary, "mask")],
        "classification": [ColSpec(numbers, "probabilities"), ColSpec(DataType.string, "class")],
    }[task]
    return ModelSignature(Schema([ColSpec(DataType.binary, "image")]), Schema(outputs))


def _requirements() -> list[str]:
    """Return the installed versions of the library's dependencies."""
    from packaging.requirements import Requirement

    needed = [Requirement(line) for line in requires("dg_project") or []]
    return [f"{one.name}=={version(one.name).split('+')[0]}" for one in needed
            if one.marker is None and not one.name.startswith(_FRAME)]


def _prediction(row: dict[Any, Any], image: Tensor) -> Prediction:
    """Convert a row of the answer to a prediction of the method."""
    import torch
    from pycocotools import mask as coco_mask

    from dg_project.evaluation.segmentation import unpack_mask

    if "mask" in row:
        return {"mask": torch.from_numpy(unpack_mask(row["mask"]))}
    if "probabilities" in row:
        return {"probabilities": torch.tensor(row["probabilities"])}
    found = {"boxes": torch.tensor(row["boxes"], dtype=torch.float32).reshape(-1, 4),
             "labels": torch.tensor(row["labels"], dtype=torch.int64), "scores": torch.tensor(row["scores"])}
    if "masks" in row:
        height, width = image.shape[-2:]
        rles = [{"size": [height, width], "counts": counts.encode("ascii")} for counts in row["masks"]]
        masks = coco_mask.decode(rles).transpose(2, 0, 1) if rles else np.zeros((0, height, width))
        found["masks"] = torch.from_numpy(masks.astype(bool))
    return found
