"""No image of a target domain becomes part of a pseudo image."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from dg_project.core.errors import DataError


def check_no_target(where: str, folder: Path, images: Iterable[Path], targets: Iterable[Path]) -> None:
    """Check that a folder of images is, contains, lies in and links to no folder of a target domain.

    Args:
        where: parameter and folder, for the message.
        folder: the folder.
        images: its images.
        targets: resolved folders of the target domains.

    Raises:
        DataError: it shares images with one.
    """
    for target in targets:
        if target.is_relative_to(folder.resolve()) or any(path.resolve().is_relative_to(target)
                                                          for path in [folder, *images]):
            raise DataError(f"{where} shares images with '{target}', the folder of a target domain: no target image "
                            "may train a model; use another folder, or remove the domain from data.targets")
