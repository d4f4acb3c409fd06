"""Read the captioned corpus: groups of frames with the same geometry, one clear, the others in random weather.

Files: ``<group>/clear.jpg``, ``<group>/w0.jpg`` ..., ``captions.csv`` (file, group, caption, ...) and ``boxes.json``
(group -> list of ``[x0, y0, x1, y1, class]``, absolute pixels).
"""

from __future__ import annotations

import csv
import json
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from dg_project.core.errors import DataError
from dg_project.data.images import read_image

CLEAR = "clear"


@dataclass(frozen=True)
class Group:
    """Frames of one camera in one scene.

    Attributes:
        name: folder of the frames.
        clear: ``(3, H, W)`` uint8, the clear day.
        weathers: ``(n, 3, H, W)`` uint8, the same scene in other weather.
        captions: captions of the clear frame and of ``weathers``, in this order.
        boxes: ``(m, 4)`` float32, xyxy absolute pixels, of every visible object.
        labels: class names of the boxes.
    """

    name: str
    clear: Tensor
    weathers: Tensor
    captions: list[str]
    boxes: Tensor
    labels: list[str] = field(default_factory=list)

    @property
    def frames(self) -> Tensor:
        """All frames ``(1 + n, 3, H, W)`` uint8, the clear one first."""
        return torch.cat([self.clear[None], self.weathers])


def read_corpus(folder: Path) -> list[Group]:
    """Read every complete group, sorted by name.

    Raises:
        DataError: the folder, its index or a frame is missing, broken or of another size.
    """
    index, boxes_file = folder / "captions.csv", folder / "boxes.json"
    if not index.is_file() or not boxes_file.is_file():
        raise DataError(
            f"the captioned corpus '{folder}' needs captions.csv and boxes.json: render it with "
            "tools/streets/render.py or set 'pretrain_ldm.corpus' to a folder that has them"
        )
    captions: dict[str, dict[str, str]] = {}
    with index.open(newline="") as stream:
        for row in csv.DictReader(stream):
            captions.setdefault(row["group"], {})[Path(row["file"]).stem] = row["caption"]
    boxes = json.loads(boxes_file.read_text())
    groups = [
        _read_group(folder, name, captions[name], boxes.get(name, []))
        for name in sorted(captions)
        if CLEAR in captions[name] and len(captions[name]) > 1
    ]
    if not groups:
        raise DataError(f"{index}: no group has a 'clear' frame and at least one other; each group needs both")
    if len(sizes := {group.clear.shape for group in groups}) > 1:
        raise DataError(
            f"{folder}: the frames have several sizes {sorted(tuple(s[1:]) for s in sizes)}; render them in one size"
        )
    return groups


def _read_group(folder: Path, name: str, captions: dict[str, str], boxes: list[list]) -> Group:
    files = [CLEAR, *sorted(set(captions) - {CLEAR})]
    frames = []
    for file in files:
        path = folder / name / f"{file}.jpg"
        try:
            frames.append(read_image(path))
        except OSError as error:
            raise DataError(f"the corpus frame '{path}' cannot be read ({error}); render its group again") from error
    corners = torch.tensor([box[:4] for box in boxes], dtype=torch.float32).reshape(-1, 4)
    return Group(
        name,
        frames[0],
        torch.stack(frames[1:]),
        [captions[file] for file in files],
        corners,
        [str(box[4]) for box in boxes],
    )


def hold_out(groups: list[Group], share: float = 0.1) -> tuple[list[Group], list[Group]]:
    """Split into training and held-out groups (the last by name, so that complete scenes are held out)."""
    held = round(len(groups) * share)
    return groups[: len(groups) - held], groups[len(groups) - held :]


def box_weights(group: Group, scale: int, inside: float) -> Tensor:
    """Return ``(H/scale, W/scale)`` loss weights: ``inside`` where a box touches the cell, else 1.

    Boxes are a small part of the image, and losing one makes a training label wrong.
    """
    height, width = (side // scale for side in group.clear.shape[1:])
    weights = torch.ones(height, width)
    for x0, y0, x1, y1 in (group.boxes / scale).tolist():
        weights[int(y0) : int(np.ceil(y1)), int(x0) : int(np.ceil(x1))] = inside
    return weights


def crop_corner(
    boxes: Tensor,
    frame: tuple[int, int],
    crop: tuple[int, int],
    grid: int,
    generator: torch.Generator,
    near_box: float = 0.7,
) -> tuple[int, int]:
    """Draw the top left corner (y, x) of a crop, a multiple of ``grid``, often around a box.

    Args:
        boxes: ``(m, 4)`` xyxy in the frame.
        frame: height and width of the frame.
        crop: height and width of the crop.
        grid: step of the corner in pixels.
        generator: random generator.
        near_box: probability that the crop contains the centre of a random box.
    """
    low, high = np.zeros(2), np.array(frame) - np.array(crop)
    if len(boxes) and torch.rand((), generator=generator) < near_box:
        x0, y0, x1, y1 = boxes[int(torch.randint(len(boxes), (), generator=generator))].tolist()
        centre = np.array([(y0 + y1) / 2, (x0 + x1) / 2])
        low, high = np.clip(centre - np.array(crop), low, high), np.clip(centre, low, high)
    u = torch.rand(2, generator=generator).numpy()
    y, x = (np.round((low + u * (high - low)) / grid) * grid).astype(int)
    return int(min(y, (frame[0] - crop[0]) // grid * grid)), int(min(x, (frame[1] - crop[1]) // grid * grid))
