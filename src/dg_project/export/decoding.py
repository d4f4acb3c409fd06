"""What stands around an exported graph: images to its input, its outputs to predictions. Part of the export's contract.

Before: RGB in [0, 1], resized to the size of the input, bilinear with antialiasing. Behind, by task:

* classification: softmax of the logits.
* segmentation: the logits are resized to the image, bilinear, and the largest one is the train id.
* detection: rows with a score above 0 are detections; boxes are scaled from the input to the image.
* instance segmentation: the cells of each mask are pasted into its box; from 0.5 on a pixel belongs to the object.
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
    """An exported model with the trained model's own face: ``predict`` takes images of any size.

    Args:
        task: name of the task.
        size: height and width of the graph's input.
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
    """Return images (3, h, w) in [0, 1] as one batch (N, 3, H, W) of the graph's input."""
    return torch.stack([image if tuple(image.shape[-2:]) == size else
                        F.interpolate(image[None], size, mode="bilinear", antialias=True)[0] for image in images])


def decode(task: Task, outputs: dict[str, Tensor], size: Size, original: Size) -> Prediction:
    """Turn the outputs of one image into its prediction.

    Args:
        task: name of the task.
        outputs: what the graph returned for this image.
        size: height and width of the graph's input.
        original: height and width of the image.
    """
    if task == "classification":
        return {"probabilities": outputs["logits"].softmax(0)}
    if task == "segmentation":
        larger = F.interpolate(outputs["logits"][None], original, mode="bilinear")[0]
        return {"mask": larger.argmax(0).to(torch.uint8)}
    there = outputs["scores"] > 0
    scale = torch.tensor([size[1] / original[1], size[0] / original[0]]).repeat(2)
    found = {"boxes": outputs["boxes"][there] / scale, "scores": outputs["scores"][there],
             "labels": outputs["labels"][there]}
    if task == "instance_segmentation":
        pasted = paste_masks_in_image(outputs["masks"][there][:, None], found["boxes"], original)
        found["masks"] = pasted[:, 0] >= CERTAIN
    return found


def open_exported(folder: Path, kind: ExportFormat) -> Exported:
    """Open an exported model.

    Args:
        folder: what the export pipeline wrote.
        kind: ``onnx`` or ``torch_export``.

    Raises:
        CheckpointError: the folder does not hold this format.
    """
    try:
        card = json.loads((folder / CARD).read_text())
    except (OSError, ValueError) as error:
        raise CheckpointError(f"'{folder}' is no exported model ({error}); run this first: kedro run "
                              "--pipeline=export") from error
    if kind not in card["formats"]:
        raise CheckpointError(f"'{folder}' holds no '{kind}', only {', '.join(card['formats'])}; export it with "
                              f"--params export.format={kind}")
    return Exported(card["task"], tuple(card["input"]["size"]), open_graph(folder / FILES[kind], kind, card["outputs"]))


def open_graph(file: Path, kind: ExportFormat, outputs: Sequence[str]) -> Run:
    """Return the graph in a file as a function."""
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
