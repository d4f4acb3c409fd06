"""Quality of generated images: recall of kept boxes, weather accuracy, contact sheets."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image, ImageDraw
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import Tensor
from torchvision.ops import box_iou

FindObjects = Callable[[Tensor], tuple[Tensor, list[str]]]
"""uint8 image ``(3, H, W)`` -> boxes ``(n, 4)`` xyxy and class names of confident detections."""

HOURS = ("day", "dusk", "night")
AIR = ("rain", "fog", "snow")


def kept_box_recall(
    find_objects: FindObjects,
    images: Sequence[Tensor],
    boxes: Sequence[Tensor],
    labels: Sequence[Sequence[str]],
    iou: float = 0.5,
) -> float:
    """Return the share of the source's boxes found by an oracle detector (same class, IoU >= ``iou``).

    Each detection matches at most one box. NaN if there are no boxes.

    Args:
        find_objects: detector trained on real frames in all weathers.
        images: generated images, uint8 ``(3, H, W)``.
        boxes: source boxes of each image, ``(m, 4)``.
        labels: class names of the boxes of each image.
        iou: minimum overlap.
    """
    found = total = 0
    for image, kept, names in zip(images, boxes, labels, strict=True):
        seen, classes = find_objects(image)
        total += len(kept)
        if not len(kept) or not len(seen):
            continue
        same = torch.tensor([[a == b for b in classes] for a in names])
        overlap = box_iou(kept.float(), seen.float()) * same
        while overlap.numel() and float(overlap.max()) >= iou:
            row, column = divmod(int(overlap.argmax()), overlap.shape[1])
            overlap[row], overlap[:, column] = 0, 0
            found += 1
    return found / total if total else float("nan")


def weather_words(caption: str) -> dict[str, str | bool]:
    """Return the hour (day, dusk or night) and whether a caption or prompt mentions rain, fog and snow.

    >>> weather_words("a city street at night in heavy rain, wet road")
    {'hour': 'night', 'rain': True, 'fog': False, 'snow': False}
    """
    words = caption.replace("misty", "fog")
    hour = "night" if "night" in words else "dusk" if "dusk" in words else "day"
    return {"hour": hour, **{name: name in words for name in AIR}}


class WeatherClassifier:
    """Logistic regressions on simple image statistics, one each for the hour, rain, fog and snow."""

    def __init__(self, images: Sequence[Tensor], captions: Sequence[str]) -> None:
        features = np.stack([image_statistics(image) for image in images])
        words = [weather_words(caption) for caption in captions]
        self._models: dict[str, Pipeline] = {}
        for key in ("hour", *AIR):
            targets = [str(word[key]) for word in words]
            if len(set(targets)) > 1:
                model = make_pipeline(
                    StandardScaler(), LogisticRegression(C=0.1, class_weight="balanced", max_iter=2000)
                )
                self._models[key] = model.fit(features, targets)

    def accuracy(self, images: Sequence[Tensor], captions: Sequence[str]) -> dict[str, float]:
        """Return the balanced accuracy per attribute: share of images that match their caption."""
        features = np.stack([image_statistics(image) for image in images])
        scores = {}
        for key, model in self._models.items():
            wanted = np.array([str(weather_words(caption)[key]) for caption in captions])
            right = model.predict(features) == wanted
            scores[key] = float(np.mean([right[wanted == value].mean() for value in sorted(set(wanted))]))
        return scores


def image_statistics(image: Tensor) -> np.ndarray:
    """Return colour, spread and edge energy on a 4 x 4 grid and a histogram of a uint8 image ``(3, H, W)``."""
    pixels = image.float() / 255
    grey = pixels.mean(0, keepdim=True)
    edges = [grey.diff(dim=d).abs()[:, : image.shape[1] - 1, : image.shape[2] - 1] for d in (1, 2)]
    maps = [
        pixels,
        (grey - F.avg_pool2d(grey, 5, 1, 2, count_include_pad=False)).abs(),
        *edges,
        pixels.amax(0, keepdim=True) - pixels.amin(0, keepdim=True),
    ]
    grids = [F.adaptive_avg_pool2d(m, 4).flatten() for m in maps]
    logs = [(grid + 1e-3).log() for grid in grids]
    histogram = torch.histc(grey, 16, 0, 1) / grey.numel()
    return torch.cat([*grids, *logs, histogram.sqrt()]).numpy()


def contact_sheet(rows: Sequence[Sequence[Tensor]], heads: Sequence[str], width: int = 240) -> Image.Image:
    """Return a grid of uint8 images ``(3, H, W)`` with column headers.

    Args:
        rows: images of each row, one per column.
        heads: column headers.
        width: width of one image on the sheet, in pixels.
    """
    height = round(width * rows[0][0].shape[1] / rows[0][0].shape[2])
    line = 14 * max(head.count("\n") + 1 for head in heads) + 4
    sheet = Image.new("RGB", (len(heads) * (width + 2), line + len(rows) * (height + 2)), "white")
    draw = ImageDraw.Draw(sheet)
    for column, head in enumerate(heads):
        draw.text((column * (width + 2) + 3, 2), head, fill="black")
        for row, images in enumerate(rows):
            picture = Image.fromarray(images[column].permute(1, 2, 0).numpy()).resize(
                (width, height), Image.Resampling.LANCZOS
            )
            sheet.paste(picture, (column * (width + 2), line + row * (height + 2)))
    return sheet
