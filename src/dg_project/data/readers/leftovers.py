"""What lies next to the data that was read and was not read: labels without images, images of no split, other files."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable
from pathlib import Path

from dg_project.core.errors import DataError
from dg_project.data.images import IMAGE_SUFFIXES
from dg_project.data.readers.folders import plain

_LABELS = (".txt", ".xml", ".json", ".csv", ".mat", ".md", ".html", ".yaml", ".yml", ".db", ".cache")
"""Endings that may lie next to images."""
MOSTLY = 0.5
"""Share from which left-over labels stop the ingestion."""


def without_image(labels: Collection[str], images: Collection[str], what: str, where: Path, remedy: str,
                  stop: bool = True) -> list[str]:
    """Return a message if some labels belong to no image.

    Args:
        labels: name of the image of every label.
        images: names of the images that there are.
        what: name of the labels in the plural.
        where: their file or folder.
        remedy: what to do.
        stop: raise if these are more than half of the labels.

    Raises:
        DataError: most labels belong to no image.
    """
    left = sorted(set(labels) - set(map(plain, images)))
    if not left:
        return []
    number = sum(name in set(left) for name in labels)
    message = f"{where}: {number} of {len(labels)} {what} have no image, such as '{left[0]}'; {remedy}"
    if stop and number > MOSTLY * len(labels):
        raise DataError(message)
    return [message]


def names_in(folder: Path, suffix: str, tail: str = "") -> list[str]:
    """Return the names of files ``<name><tail><suffix>`` in a folder, sorted; [] if there is no folder."""
    end = f"{tail}{suffix}"
    found = [path.name for path in folder.iterdir()] if folder.is_dir() else []
    return sorted(plain(name.removesuffix(end)) for name in found if name.endswith(end) and not name.startswith("."))


def masks_without_image(masks: Path, images: Path) -> list[str]:
    """Return a message if masks of a folder have no image of their name, as in data sets of which a part is here."""
    names = [name.removesuffix("_labelTrainIds") for name in names_in(masks, ".png")]
    return without_image(names, [path.stem for path in images.iterdir()], "masks", masks,
                         "restore the images, or remove the masks", stop=False)


def left_aside(images: Iterable[Path], domain: str) -> list[str]:
    """Return one line per folder of images about what it holds besides these: images of no split, other endings."""
    by_folder: dict[Path, set[str]] = {}
    for path in images:
        by_folder.setdefault(path.parent, set()).add(path.name)
    unlisted, endings, nested = 0, Counter[str](), 0
    for folder, names in by_folder.items():
        for entry in folder.iterdir():
            ending = entry.suffix.lower()
            if entry.name in names or entry.name.startswith("."):
                continue
            if entry.is_dir():
                nested += entry not in by_folder and _holds_images(entry)
            elif ending in IMAGE_SUFFIXES:
                unlisted += 1
            elif ending not in _LABELS:
                endings[ending or "no ending"] += 1
    lines = [f"{unlisted} images of its folders are in no split that was read"] if unlisted else []
    lines += [f"{nested} sub-folders of its images hold images that were not read"] if nested else []
    lines += [f"{number} files with the ending {name} next to its images were not read"
              for name, number in endings.most_common()]
    return [f"{domain}: {line}" for line in lines]


def _holds_images(folder: Path) -> bool:
    return any(path.suffix.lower() in IMAGE_SUFFIXES for path in folder.iterdir())
