"""Draw a prediction on its image, pixel for pixel: boxes, masks or a label."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from matplotlib.colors import to_rgb
from pycocotools import mask as coco_mask
from torch import Tensor
from torchvision.utils import draw_bounding_boxes, draw_segmentation_masks

from dg_project.evaluation.segmentation import unpack_mask
from dg_project.figures.style import class_colour, train_id_colours

_TINT = 0.55


def draw_prediction(image: Tensor, found: dict[str, Any], classes: list[str]) -> Tensor:
    """Return the image with its prediction drawn on it, uint8 (3, H, W).

    Args:
        image: uint8 (3, H, W).
        found: row of the predictions table of any task.
        classes: class names.
    """
    if "mask" in found:
        return draw_semantic(image, found["mask"], len(classes))
    if "probabilities" in found:
        likely = int(np.argmax(found["probabilities"]))
        label = f"{classes[likely]} {found['probabilities'][likely]:.2f}"
        frame = torch.tensor([[0, 0, image.shape[2] - 1, image.shape[1] - 1]])
        return draw_bounding_boxes(image, frame, [label], [_rgb(class_colour(likely + 1))], width=2)
    if not len(found["labels"]):
        return image
    colours = [_rgb(class_colour(int(label))) for label in found["labels"]]
    if "masks" in found:
        size = [image.shape[1], image.shape[2]]
        masks = coco_mask.decode([{"size": size, "counts": counts.encode("ascii")} for counts in found["masks"]])
        image = draw_segmentation_masks(image, torch.from_numpy(masks).permute(2, 0, 1).bool(), _TINT, colours)
    captions = [f"{classes[int(label) - 1]} {score:.2f}"
                for label, score in zip(found["labels"], found["scores"], strict=True)]
    boxes = torch.tensor(np.asarray([list(box) for box in found["boxes"]], np.float32))
    return draw_bounding_boxes(image, boxes, captions, colours, width=1 + max(image.shape[1:]) // 600)


def draw_semantic(image: Tensor, png: bytes, n_classes: int) -> Tensor:
    """Return the image (3, H, W) tinted in the colours of the train ids."""
    mask = unpack_mask(png)
    present = [int(k) for k in np.unique(mask) if k < n_classes]
    masks = torch.from_numpy(np.stack([mask == k for k in present])) if present else torch.zeros(0, *mask.shape).bool()
    colours = palette(n_classes)
    return draw_segmentation_masks(image, masks, _TINT, [tuple(colours[k].tolist()) for k in present]) if present \
        else image


def palette(n_classes: int) -> np.ndarray:
    """Return (n, 3) uint8 colours of the train ids."""
    return (train_id_colours(n_classes) * 255).round().astype(np.uint8)


def _rgb(colour: str) -> tuple[int, int, int]:
    red, green, blue = (round(255 * part) for part in to_rgb(colour))
    return red, green, blue
