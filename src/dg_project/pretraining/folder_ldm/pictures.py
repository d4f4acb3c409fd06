"""The images that one LDM may see: those of its source domains. No file of another domain is opened."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import torch
from PIL import Image
from torch import Tensor
from torchvision.transforms.v2.functional import center_crop, pil_to_tensor
from tqdm.auto import tqdm

from dg_project.config import DataParams, PretrainFolderLDMParams
from dg_project.core.errors import DataError, ParameterError, nearest
from dg_project.core.files import inside
from dg_project.data.images import open_rgb
from dg_project.data.readers.folders import folders_in
from dg_project.experiments.leave_one_out import read_folder

EVERYTHING = "all"
"""Name of the LDM that leaves no domain out."""
LEAST_DOMAINS, LEAST_IMAGES = 2, 2
HELD_SHARE, MOST_HELD = 0.05, 40
"""Share of a domain's images that never train, and their largest number; they give the figures of the card."""


@dataclass(frozen=True)
class Pictures:
    """Images of one size with the names of their folders.

    Attributes:
        images: ``(N, 3, size, size)`` uint8.
        domains: domain of each image.
        classes: class of each image.
    """

    images: Tensor
    domains: list[str]
    classes: list[str]

    def __len__(self) -> int:
        return len(self.images)

    def rows(self, domain: str) -> list[int]:
        """Return the indices of a domain's images."""
        return [index for index, name in enumerate(self.domains) if name == domain]

    def subset(self, rows: Sequence[int]) -> Pictures:
        """Return some of the images."""
        return Pictures(self.images[list(rows)], [self.domains[i] for i in rows], [self.classes[i] for i in rows])


def planned(root: Path, params: PretrainFolderLDMParams) -> dict[str, list[str]]:
    """Return the source domains of every LDM to train, by the name of the domain left out (or ``all``).

    Only folder names are read.

    Raises:
        DataError: the root or a domain is missing, or a model would see fewer than two domains.
        ParameterError: ``held_out`` names a domain that is not among ``domains``.
    """
    if not root.is_dir():
        raise DataError(f"the data root '{root}' is missing; set data.root to a folder <domain>/<class>/<image>")
    folders = [folder.name for folder in folders_in(root)]
    domains = params.domains or folders
    if missing := [name for name in domains if name not in folders]:
        raise DataError(f"the domain folder '{root / missing[0]}' is missing.{nearest(missing[0], folders)} Correct "
                        "pretrain_folder_ldm.domains or data.root")
    names = domains if params.held_out == "each" else params.held_out or [EVERYTHING]
    if wrong := [name for name in names if params.held_out and name not in domains]:
        raise ParameterError(f"pretrain_folder_ldm.held_out: '{wrong[0]}' is not one of the domains "
                             f"{', '.join(domains)}.{nearest(wrong[0], domains)}")
    sources = {name: [domain for domain in domains if domain != name] for name in names}
    if few := [name for name, seen in sources.items() if len(seen) < LEAST_DOMAINS]:
        raise DataError(f"an LDM that turns one kind of picture into another needs {LEAST_DOMAINS} domains, but "
                        f"'{root}' has {len(domains)} ({', '.join(domains) or 'none'}) and '{few[0]}' would see "
                        f"{len(sources[few[0]])}: give a root with more (data.root, pretrain_folder_ldm.domains)")
    return sources


def list_images(root: Path, sources: Sequence[str], classes: Sequence[str] | None, data: DataParams,
                size: int) -> pd.DataFrame:
    """Return a row (image, domain, class_name, sha256) for every image of the source domains.

    Raises:
        DataError: a domain has no class folders or too few images, or an image is broken or smaller than ``size``.
    """
    known = list(classes) if classes else sorted({f.name for name in sources for f in folders_in(root / name)})
    parts = [read_folder(root, name, known, data)[0] for name in sources]
    rows = pd.concat(parts, ignore_index=True)
    if alone := [name for name, part in zip(sources, parts, strict=True) if len(part) < LEAST_IMAGES]:
        raise DataError(f"the domain '{root / alone[0]}' has one image, and one to train on and one to measure with "
                        "are needed: add images, or leave the domain out of pretrain_folder_ldm.domains")
    if len(small := rows[rows[["width", "height"]].min(axis=1) < size]):
        first = small.iloc[0]
        raise DataError(f"{root / first['image']}: it has {first['width']} x {first['height']} pixels, too few to "
                        f"train at {size} x {size} ({len(small)} of {len(rows)} images are too small): lower "
                        "pretrain_folder_ldm.size")
    return rows.assign(class_name=[known[int(labels[0]) - 1] for labels in rows["labels"]])


def choose(rows: pd.DataFrame, images_per_domain: int | None, seed: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the images that train and those held out, drawn per domain by the seed and the images' ids.

    Args:
        rows: result of ``list_images``.
        images_per_domain: most images of a domain that train; None: all.
        seed: random seed.
    """
    train, held = [], []
    for _, own in rows.groupby("domain", sort=False):
        order = [hashlib.sha256(f"{seed}/{name}".encode()).digest() for name in own["image_id"]]
        drawn = own.assign(order=order).sort_values("order").drop(columns="order")
        count = min(MOST_HELD, max(1, round(len(drawn) * HELD_SHARE)))
        held.append(drawn.head(count))
        train.append(drawn.iloc[count:].head(images_per_domain or len(drawn)))
    return pd.concat(train, ignore_index=True), pd.concat(held, ignore_index=True)


def read_pictures(rows: pd.DataFrame, root: Path, size: int) -> Pictures:
    """Read the images: the shorter side is resized to ``size``, the middle of the longer one is kept."""
    images = [_square(open_rgb(inside(root, name)), size) for name in tqdm(rows["image"], "reading", unit="image")]
    return Pictures(torch.stack(images), [str(name) for name in rows["domain"]],
                    [str(name) for name in rows["class_name"]])


def _square(image: Image.Image, size: int) -> Tensor:
    scale = size / min(image.size)
    sides = (max(size, round(image.width * scale)), max(size, round(image.height * scale)))
    return center_crop(pil_to_tensor(image.resize(sides, Image.Resampling.LANCZOS)), [size, size])
