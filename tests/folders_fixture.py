"""Image folders of three domains and two classes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

DOMAINS, CLASSES = ["art", "photo", "sketch"], ["cat", "dog"]


def build_folders(root: Path, images: int = 5) -> Path:
    """Write three domains of two classes: bright cats and dark dogs on another shade per domain."""
    for d, domain in enumerate(DOMAINS):
        for c, name in enumerate(CLASSES):
            (root / domain / name).mkdir(parents=True)
            for i in range(images):
                pixels = np.random.default_rng([d, c, i]).integers(0, 40, (20, 24, 3)) + 60 * d + 80 * c
                Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(root / domain / name / f"{i}.png")
    return root
