"""Folders of images that the user gives a generator; no image of a target domain becomes part of a pseudo image."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from dg_project.core.errors import DataError
from dg_project.data.images import IMAGE_SUFFIXES


def given_images(where: str, folder: Path, targets: Iterable[Path], wanted: str, *, deep: bool = False) -> list[Path]:
    """Return the images of a folder, sorted.

    Args:
        where: parameter of the folder, for messages.
        folder: the folder.
        targets: folders of the target domains; it may share no image with them.
        wanted: what belongs into the folder, for messages.
        deep: whether images in its subfolders count.

    Raises:
        DataError: the folder is missing, has no image, or shares images with a target domain.
    """
    named = f"{where}: the folder '{folder}'"
    if not folder.is_dir():
        raise DataError(f"{named} does not exist: create it and put {wanted} into it")
    images = sorted(path for path in (folder.rglob("*") if deep else folder.iterdir())
                    if path.suffix.lower() in IMAGE_SUFFIXES and path.is_file())
    _check_no_target(named, folder, images, [target.resolve() for target in targets])
    if not images:
        raise DataError(f"{named} has no image ({', '.join(IMAGE_SUFFIXES)}): put {wanted} into it")
    return images


def _check_no_target(named: str, folder: Path, images: Sequence[Path], targets: Iterable[Path]) -> None:
    """Stop if the folder is, contains, lies in or links to the folder of a target domain."""
    for target in targets:
        if target.is_relative_to(folder.resolve()) or any(path.resolve().is_relative_to(target)
                                                          for path in [folder, *images]):
            raise DataError(f"{named} shares images with '{target}', the folder of a target domain: no target image "
                            "may train a model; use another folder, or remove the domain from data.targets")
