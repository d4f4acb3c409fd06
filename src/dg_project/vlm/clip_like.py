"""The bundled CLIP-like teacher: packaged encoders and a small projector. It has CLIP's form but is not CLIP.

Its folder holds ``projector.safetensors``, ``teacher.json`` (sizes and measured figures) and ``README.md`` (the same
figures, readable). The encoders come from packages.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn.functional import normalize

from dg_project.core.errors import CheckpointError
from dg_project.core.files import atomic_file
from dg_project.vlm.base import Teacher
from dg_project.vlm.encoders import IMAGE_FEATURES, TEXT_FEATURES, image_features, text_features

WEIGHTS, CARD = "projector.safetensors", "teacher.json"
FORMAT = "clip_like"
SCALE_START, SCALE_MAX = math.log(1 / 0.07), math.log(100)


class Projector(nn.Module):
    """Map the features of both encoders into one space.

    Args:
        size: embedding length D.
        hidden: hidden units of the image branch.
        dropout: dropout rate of image features.
    """

    def __init__(self, size: int, hidden: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.image = nn.Sequential(nn.LayerNorm(IMAGE_FEATURES), nn.Dropout(dropout),
                                   nn.Linear(IMAGE_FEATURES, hidden), nn.GELU(), nn.Linear(hidden, size))
        self.text = nn.Linear(TEXT_FEATURES, size)
        self.log_scale = nn.Parameter(torch.tensor(SCALE_START))

    def images(self, features: Tensor) -> Tensor:
        """Map image features (N, 3072) to unit vectors (N, D)."""
        return normalize(self.image(features), dim=-1)

    def texts(self, features: Tensor) -> Tensor:
        """Map sentence vectors (n, 384) to unit vectors (n, D)."""
        return normalize(self.text(features), dim=-1)

    def scale(self) -> Tensor:
        """Return ``e^s``, s at most ln 100."""
        return self.log_scale.clamp(0, SCALE_MAX).exp()


class ClipLike(Teacher):
    """Teacher of packaged encoders and a projector.

    Args:
        projector: trained projector.
        name: name used in error messages.
        classes: classes that the projector was trained on; None if unknown.
    """

    def __init__(self, projector: Projector, name: str = "CLIP-like", classes: Sequence[str] | None = None) -> None:
        self.classes = None if classes is None else tuple(classes)
        self.name, self._projector = name, projector.eval().requires_grad_(False)
        self.size, self.scale = projector.text.out_features, float(projector.scale())

    @classmethod
    def open(cls, folder: Path) -> ClipLike:
        """Open a folder written by ``save_clip_like``.

        Raises:
            CheckpointError: a file is missing or broken, or the files do not fit together.
        """
        try:
            card = json.loads((folder / CARD).read_text())
            if card["format"] != FORMAT:
                raise ValueError(f"its format is {card['format']!r}, not '{FORMAT}'")
            projector = Projector(int(card["size"]), int(card["hidden"]))
            projector.load_state_dict({k: v.float() for k, v in load_file(folder / WEIGHTS).items()})
        except (OSError, ValueError, KeyError, TypeError, RuntimeError, SafetensorError) as error:
            raise CheckpointError(f"the teacher '{folder}' cannot be read ({error}); restore it, or train one with "
                                  "`kedro run --pipeline=pretrain_teacher`") from error
        return cls(projector, str(folder), card.get("classes"))

    @torch.no_grad()
    def images(self, images: Sequence[Tensor]) -> Tensor:
        """See ``Teacher.images``."""
        return self._projector.to(images[0].device).images(image_features(images))

    @torch.no_grad()
    def texts(self, texts: Sequence[str]) -> Tensor:
        """See ``Teacher.texts``."""
        return self._projector.cpu().texts(text_features(texts))


def save_clip_like(projector: Projector, folder: Path, card: Mapping[str, Any]) -> None:
    """Write the projector in half precision and its card."""
    with atomic_file(folder / WEIGHTS) as aside:
        save_file({k: v.detach().half().contiguous() for k, v in projector.state_dict().items()}, aside)
    with atomic_file(folder / CARD) as aside:
        aside.write_text(json.dumps({"format": FORMAT, **card}, indent=2) + "\n")
