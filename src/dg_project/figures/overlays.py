"""Draw a prediction on its image: boxes, masks or a label. Small images are enlarged, so that labels can be read."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from matplotlib.colors import to_rgb
from pycocotools import mask as coco_mask
from torch import Tensor
from torch.nn.functional import interpolate
from torchvision.utils import draw_bounding_boxes, draw_segmentation_masks

from dg_project.evaluation.segmentation import unpack_mask
from dg_project.figures.labels import Colour, Label, write_labels
from dg_project.figures.style import class_colour, train_id_colours

_TINT = 0.55
_WIDE, _LARGEST_SCALE = 960, 3


def draw_prediction(image: Tensor, found: dict[str, Any], classes: list[str]) -> Tensor:
    """Return the image with its prediction drawn on it, uint8 (3, s H, s W); see ``drawn_scale`` for s.

    Args:
        image: uint8 (3, H, W).
        found: row of the predictions table of any task.
        classes: class names.
    """
    if "mask" in found:
        return draw_semantic(image, found["mask"], len(classes))
    if "probabilities" in found:
        likely = int(np.argmax(found["probabilities"]))
        boxes, numbers, scores = [[0, 0, image.shape[2] - 1, image.shape[1] - 1]], [likely + 1], found["probabilities"]
        return _draw_boxes(image, boxes, numbers, [scores[likely]], classes)
    if "masks" in found and len(found["labels"]):
        size = [image.shape[1], image.shape[2]]
        masks = coco_mask.decode([{"size": size, "counts": counts.encode("ascii")} for counts in found["masks"]])
        image = draw_segmentation_masks(image, torch.from_numpy(masks).permute(2, 0, 1).bool(), _TINT,
                                        [rgb(class_colour(int(label))) for label in found["labels"]])
    return _draw_boxes(image, found["boxes"], found["labels"], found["scores"], classes)


def drawn_scale(image: Tensor) -> int:
    """Return how many times an image (3, H, W) is enlarged before boxes are drawn on it: 1, 2 or 3."""
    return max(1, min(_LARGEST_SCALE, round(_WIDE / max(image.shape[1:]))))


def _draw_boxes(image: Tensor, boxes: Any, labels: Any, scores: Any, classes: list[str]) -> Tensor:
    scale = drawn_scale(image)
    if scale > 1:
        larger = interpolate(image[None].float(), scale_factor=scale, mode="bicubic", antialias=True)[0]
        image = larger.round().clamp(0, 255).to(torch.uint8)
    if not len(labels):
        return image
    colours = [rgb(class_colour(int(label))) for label in labels]
    sides = scale * np.asarray([list(box) for box in boxes], np.float32)
    image = draw_bounding_boxes(image, torch.from_numpy(sides), None, colours, width=2 + max(image.shape[1:]) // 900)
    texts = [Label(f"{classes[int(label) - 1]} {score:.2f}", (box[0], box[1], box[2], box[3]), colour)
             for label, score, box, colour in zip(labels, scores, sides.tolist(), colours, strict=True)]
    order = np.argsort(-np.asarray(scores, float), kind="stable")
    return write_labels(image, [texts[k] for k in order], size=max(12, max(image.shape[1:]) / 75))


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


def rgb(colour: str) -> Colour:
    """Return a colour as red, green and blue from 0 to 255."""
    red, green, blue = (round(255 * part) for part in to_rgb(colour))
    return red, green, blue
