"""Run an exported graph: images to graph input, graph outputs to predictions. Part of the export's contract.

Input: RGB in [0, 1], resized to the input size, bilinear with antialiasing. Decoding, by task:

* classification: softmax of the logits.
* segmentation: argmax of the logits, resized to the image with bilinear interpolation.
* detection: rows with a score above 0; boxes are scaled from the input to the image.
* instance segmentation: each mask is pasted into its box and thresholded at 0.5.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision.models.detection.roi_heads import paste_masks_in_image

from dg_project.config import ExportFormat, Task
from dg_project.core.errors import CheckpointError
from dg_project.tasks.base import Prediction

CARD = "export.json"
FILES: dict[ExportFormat, str] = {"onnx": "model.onnx", "torch_export": "model.pt2", "mlflow": "mlflow"}
CERTAIN = 0.5

Run = Callable[[Tensor], dict[str, Tensor]]
Size = tuple[int, int]


class Exported:
    """An exported model with the ``predict`` of the trained model.

    Args:
        task: name of the task.
        size: (height, width) of the graph input.
        run: the graph, input (N, 3, H, W) -> outputs by name.
    """

    def __init__(self, task: Task, size: Size, run: Run) -> None:
        self.task, self.size, self.run = task, size, run

    @torch.no_grad()
    def predict(self, images: Sequence[Tensor]) -> list[Prediction]:
        """Predict images (3, h, w) in [0, 1] of any size."""
        sizes = [(int(image.shape[-2]), int(image.shape[-1])) for image in images]
        outputs = self.run(to_input(images, self.size))
        return [decode(self.task, {name: value[i] for name, value in outputs.items()}, self.size, size)
                for i, size in enumerate(sizes)]


def to_input(images: Sequence[Tensor], size: Size) -> Tensor:
    """Return images (3, h, w) in [0, 1] as a batch (N, 3, H, W) of graph input."""
    return torch.stack([image if tuple(image.shape[-2:]) == size else
                        F.interpolate(image[None], size, mode="bilinear", antialias=True)[0] for image in images])


def decode(task: Task, outputs: dict[str, Tensor], size: Size, original: Size) -> Prediction:
    """Turn the outputs of one image into its prediction.

    Args:
        task: name of the task.
        outputs: outputs of the graph for this image.
        size: (height, width) of the graph input.
        original: (height, width) of the image.
    """
    if task == "classification":
        return {"probabilities": outputs["logits"].softmax(0)}
    if task == "segmentation":
        larger = F.interpolate(outputs["logits"][None], original, mode="bilinear")[0]
        return {"mask": larger.argmax(0).to(torch.uint8)}
    kept = outputs["scores"] > 0
    scale = torch.tensor([size[1] / original[1], size[0] / original[0]]).repeat(2)
    found = {"boxes": outputs["boxes"][kept] / scale, "scores": outputs["scores"][kept],
             "labels": outputs["labels"][kept]}
    if task == "instance_segmentation":
        pasted = paste_masks_in_image(outputs["masks"][kept][:, None], found["boxes"], original)
        found["masks"] = pasted[:, 0] >= CERTAIN
    return found


def open_exported(folder: Path, kind: ExportFormat) -> Exported:
    """Open an exported model.

    Args:
        folder: folder written by the export pipeline.
        kind: ``onnx`` or ``torch_export``.

    Raises:
        CheckpointError: the folder has no export, or not this format.
    """
    try:
        card = json.loads((folder / CARD).read_text())
    except (OSError, ValueError) as error:
        raise CheckpointError(f"'{folder}' is not an exported model ({error}); run this first: kedro run "
                              "--pipeline=export") from error
    if kind not in card["formats"]:
        raise CheckpointError(f"'{folder}' has no '{kind}', only {', '.join(card['formats'])}; export it with "
                              f"--params export.format={kind}")
    return Exported(card["task"], tuple(card["input"]["size"]), open_graph(folder / FILES[kind], kind, card["outputs"]))


def open_graph(file: Path, kind: ExportFormat, outputs: Sequence[str]) -> Run:
    """Open a graph as a function of images (N, 3, H, W)."""
    if kind == "onnx":
        return _open_onnx(file, outputs)
    module = torch.export.load(file).module()

    def run(images: Tensor) -> dict[str, Tensor]:
        return dict(zip(outputs, module(images), strict=True))

    return run


def _open_onnx(file: Path, outputs: Sequence[str]) -> Run:
    from dg_project.core.extras import onnxruntime

    session = onnxruntime().InferenceSession(file, providers=["CPUExecutionProvider"])

    def run(images: Tensor) -> dict[str, Tensor]:
        found = session.run(list(outputs), {"images": images.numpy()})
        return {name: torch.from_numpy(value) for name, value in zip(outputs, found, strict=True)}

    return run
