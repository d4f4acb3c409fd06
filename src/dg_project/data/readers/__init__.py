"""Readers by name: one module per layout on disk, all with the same manifest as output."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import pandas as pd
from pydantic import ValidationError

from dg_project.config import DataParams
from dg_project.core.errors import DataError, ParameterError, nearest
from dg_project.core.files import inside
from dg_project.data.readers.acdc import ACDCReader
from dg_project.data.readers.base import Place, Reader, Unlabelled
from dg_project.data.readers.bdd100k import BDD100KReader
from dg_project.data.readers.cityscapes import CityscapesReader
from dg_project.data.readers.coco import COCOReader
from dg_project.data.readers.collection import Rules, collect, count
from dg_project.data.readers.gta5 import GTA5Reader
from dg_project.data.readers.image_folder import ImageFolderReader
from dg_project.data.readers.image_mask import ImageMaskReader
from dg_project.data.readers.mapillary import MapillaryReader
from dg_project.data.readers.synthia import SYNTHIAReader
from dg_project.data.readers.voc import VOCReader
from dg_project.data.readers.yolo import YOLOReader

READERS: dict[str, type[Reader]] = {
    "voc": VOCReader, "coco": COCOReader, "yolo": YOLOReader, "cityscapes": CityscapesReader, "acdc": ACDCReader,
    "bdd100k": BDD100KReader, "gta5": GTA5Reader, "synthia": SYNTHIAReader, "mapillary": MapillaryReader,
    "image_folder": ImageFolderReader, "image_mask": ImageMaskReader,
}


def read_domain(reader: str, root: Path, domain: str, role: Literal["source", "target", "adapt"],
                splits: dict[str, str], classes: list[str], on_bad_sample: Literal["stop", "skip"] = "stop",
                limits: dict[str, int] | None = None, *, folder: str | None = None,
                options: dict[str, Any] | None = None, **rules: Any) -> tuple[pd.DataFrame, list[str]]:
    """Read and check one domain: every image and mask is decoded, every box and class checked.

    Args:
        reader: name in ``READERS``.
        root: folder that holds the folders of the domains.
        domain: name of the domain.
        role: use of the domain; for ``adapt`` only images are opened, never annotations.
        splits: our split name -> the data set's split name, or a share of it (``train[:90%]``); no others are opened.
        classes: class names; their order gives the labels 1..C.
        on_bad_sample: ``stop`` at the first broken sample, or ``skip`` it.
        limits: our split name -> read only n images, spread over folders and classes (``in_order``: the first n).
        folder: folder of the domain below ``root``; None: same name as the domain.
        options: options of the reader.
        **rules: ``rename``, ``ignore_classes``, ``other_classes``, ``split_seed``, ``expected_counts``, ``in_order`` and
            ``mask_classes`` of ``collection.Rules``.

    Returns:
        The manifest (columns of ``data.manifest.COLUMNS`` and ``ORIGIN_COLUMNS``, paths relative to ``root``; what was
        noticed and left aside is in its ``attrs``) and one message per skipped sample.

    Raises:
        DataError: a folder or list is missing, a split is empty, entirely broken or has an unexpected size, or a
            sample is broken (``stop``).
        ParameterError: unknown reader or option.
    """
    how = Rules(classes, on_bad_sample=on_bad_sample, limits=limits or {}, **rules)
    found = _reader(reader, Path(root), domain, folder, options)
    return collect(Unlabelled(found) if role == "adapt" else found, role, splits, how)


def count_domain(reader: str, root: Path, domain: str, splits: dict[str, str], classes: list[str],
                 on_bad_sample: Literal["stop", "skip"] = "stop", *, folder: str | None = None,
                 options: dict[str, Any] | None = None, **rules: Any) -> dict[str, int]:
    """Return how many images each split lists, without opening an image.

    Arguments and errors are those of ``read_domain``.
    """
    how = Rules(classes, on_bad_sample=on_bad_sample, **rules)
    return count(_reader(reader, Path(root), domain, folder, options), splits, how)


def configured(data: DataParams, root: Path, domain: str, splits: dict[str, str] | None = None) -> dict[str, Any]:
    """Return the arguments of ``read_domain`` and ``count_domain`` for a domain.

    Args:
        data: data parameters.
        root: data root.
        domain: name of the domain.
        splits: splits to open; None: those of ``data.splits_of``.
    """
    reader, folder, options = data.layout(domain)
    splits = data.splits_of(domain) if splits is None else splits
    counts = {split: data.expected_counts[f"{domain}/{split}"] for split in splits
              if f"{domain}/{split}" in data.expected_counts}
    return {"reader": reader, "root": root, "domain": domain, "splits": splits, "classes": data.classes,
            "on_bad_sample": data.on_bad_sample, "folder": folder, "options": options, "rename": data.rename,
            "ignore_classes": data.ignore_classes, "other_classes": data.other_classes, "split_seed": data.split_seed, "expected_counts": counts}


def _reader(name: str, root: Path, domain: str, folder: str | None, options: dict[str, Any] | None) -> Reader:
    if name not in READERS:
        raise ParameterError(f"data.reader: unknown reader '{name}'.{nearest(name, READERS)}")
    try:
        parsed = READERS[name].Options.model_validate(options or {})
    except ValidationError as error:
        reasons = "; ".join(f"{'.'.join(map(str, e['loc']))} {e['msg']}".strip() for e in error.errors())
        raise ParameterError(f"data.options of the reader '{name}': {reasons}") from error
    return READERS[name](Place(domain, _folder(root, domain, folder or domain), root), parsed)


def _folder(root: Path, domain: str, name: str) -> Path:
    if not root.is_dir():
        raise DataError(f"the data root '{root}' is missing; set data.root to the folder that holds the domains")
    if not (folder := inside(root, name)).is_dir():
        known = [path.name for path in root.iterdir() if path.is_dir()]
        raise DataError(f"the domain folder '{folder}' is missing.{nearest(name, known)} Correct data.source, "
                        f"data.targets, data.root, or data.domains.{domain}.folder")
    return folder
