"""Write short texts on an image, each on a filled background, so that they do not cover one another."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

Colour = tuple[int, int, int]
Box = tuple[float, float, float, float]
"""Left, top, right, bottom in pixels."""
_PAD = 2


@dataclass(frozen=True)
class Label:
    """A text that belongs to a box.

    Attributes:
        text: a few words.
        box: what the text names.
        colour: background of the text.
    """

    text: str
    box: Box
    colour: Colour


def write_labels(image: Tensor, labels: Sequence[Label], size: float = 12) -> Tensor:
    """Return the image (uint8, 3 x H x W) with its labels, placed in the order of the list.

    A label stands above its box, else inside it, below it or next to it: at the first place that covers no label
    written before, or at the one that covers least.
    """
    canvas = Image.fromarray(image.permute(1, 2, 0).numpy())
    draw, font = ImageDraw.Draw(canvas), ImageFont.load_default(size)
    height = font.getbbox("Agj")[3] + _PAD
    taken: list[Box] = []
    for label in labels:
        width = font.getlength(label.text) + 2 * _PAD
        place = min(_places(label.box, width, height, *canvas.size), key=lambda box: _covered(box, taken))
        taken.append(place)
        draw.rectangle(place, fill=label.colour)
        draw.text((place[0] + _PAD, place[1]), label.text, fill=_readable_on(label.colour), font=font)
    return torch.from_numpy(np.array(canvas)).permute(2, 0, 1)


def _places(box: Box, width: float, height: float, image_width: int, image_height: int) -> Iterator[Box]:
    """Yield the places for a label, best first, moved into the image."""
    left, top, right, bottom = box
    for x, y in ((left, top - height), (left, top), (left, bottom), (right - width, top - height),
                 (right - width, bottom), (right, top), (left - width, top), (left, bottom - height)):
        x0, y0 = max(0.0, min(x, image_width - width)), max(0.0, min(y, image_height - height))
        yield x0, y0, x0 + width, y0 + height


def _covered(box: Box, taken: Sequence[Box]) -> float:
    """Return the area that a box shares with the boxes of other labels."""
    return sum(max(0.0, min(box[2], other[2]) - max(box[0], other[0]))
               * max(0.0, min(box[3], other[3]) - max(box[1], other[1])) for other in taken)


def _readable_on(colour: Colour) -> Colour:
    """Return black or white, whichever contrasts with the background."""
    red, green, blue = colour
    return (0, 0, 0) if 0.299 * red + 0.587 * green + 0.114 * blue > 140 else (255, 255, 255)
