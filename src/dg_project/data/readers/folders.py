"""Find and read the files of a data set; errors suggest the nearest name or an archive that is not unpacked."""

from __future__ import annotations

import hashlib
import json
import os
import re
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

from PIL import Image

from dg_project.core.errors import DataError, nearest
from dg_project.data.images import BROKEN, FORMATS, IMAGE_SUFFIXES, broken

ARCHIVES = (".zip", ".tar", ".tgz", ".tar.gz", ".tar.bz2", ".tar.xz", ".7z", ".rar")
ALL = "all"
"""Split with every image, for data sets without splits."""

_SHARE = re.compile(r"(?P<name>[^\[\]]+)(\[((?P<first>\d+)%)?:((?P<last>\d+)%)?\])?")


def need_folder(path: Path, remedy: str) -> Path:
    """Return the folder ``path``, or raise ``DataError`` with the nearest existing name and the remedy."""
    if path.is_dir():
        return path
    here = next(parent for parent in path.parents if parent.is_dir())
    missing = here / path.relative_to(here).parts[0]
    known = [entry.name for entry in here.iterdir() if entry.is_dir() and not entry.name.startswith(".")]
    hint = unpack_hint(here) or (nearest(missing.name, known) if known else "")
    raise DataError(f"the folder '{path}' is missing.{hint} {remedy}")


def need_images(folder: Path, remedy: str) -> list[Path]:
    """Return ``images_in(folder)``, or raise ``DataError`` if there are none."""
    if found := images_in(need_folder(folder, remedy)):
        return found
    raise DataError(f"there is no image in '{folder}'.{unpack_hint(folder)} {remedy}")


def images_in(folder: Path) -> list[Path]:
    """Return the images directly in ``folder``, sorted by name, without hidden files."""
    return sorted(path for path in folder.iterdir()
                  if path.suffix.lower() in IMAGE_SUFFIXES and not path.name.startswith("."))


def images_below(folder: Path) -> list[Path]:
    """Return the images in a folder and its sub-folders, without hidden ones; links cannot lead to a folder twice."""
    found: list[Path] = []
    seen = set(folder.resolve().parents)  # a link must not lead out to a folder around this one
    waiting = [folder]
    while waiting:
        here = waiting.pop()
        if (real := here.resolve()) not in seen:
            seen.add(real)
            found += images_in(here)
            waiting += reversed(folders_in(here))
    return found


def listed(images: list[Path], split: str, folder: Path, otherwise: str = "") -> list[Path]:
    """Return all images (split ``all``), or those that ``<folder>/<split>.txt`` names, one per line, in its order."""
    if split == ALL:
        return images
    path = folder / f"{split}.txt"
    lists = ", ".join(sorted(entry.name for entry in folder.glob("*.txt")))
    remedy = (f"{otherwise + ', or ' if otherwise else ''}take shares of the split 'all' in data.splits, as in "
              f"{{train: 'all[:90%]', val: 'all[90%:95%]', test: 'all[95%:]'}}{f' (lists: {lists})' if lists else ''}")
    known = by_stem(images)
    names = [plain(line.split("#")[0].strip()) for line in read_text(path, remedy).splitlines()]
    stems = [without_ending(Path(name).name) for name in names if name]
    if missing := [stem for stem in stems if stem not in known]:
        raise DataError(f"{path}: it lists '{missing[0]}', which is not in '{images[0].parent}'; restore the image or "
                        "the list")
    return [known[stem] for stem in stems]


def by_stem(images: list[Path]) -> dict[str, Path]:
    """Return the images of a folder by their names (NFC) without suffix, as in lists.

    Raises:
        DataError: two images differ only in their suffix.
    """
    known: dict[str, Path] = {}
    for image in images:
        if (other := known.setdefault(plain(image.stem), image)) is not image:
            raise DataError(f"'{image.parent}' has '{other.name}' and '{image.name}', so the image id '{image.stem}' "
                            "comes twice; rename or remove one of them")
    return known


def without_ending(name: str) -> str:
    """Return a name of a list without the ending of an image, if it has one."""
    return name.removesuffix(Path(name).suffix) if Path(name).suffix.lower() in IMAGE_SUFFIXES else name


def folders_in(folder: Path) -> list[Path]:
    """Return the folders directly in ``folder``, sorted by name, without hidden ones."""
    return sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))


def unpack_hint(folder: Path) -> str:
    """Return a hint to unpack an archive in ``folder``, or ''."""
    archives = sorted(path.name for path in folder.iterdir() if path.name.lower().endswith(ARCHIVES))
    return f" There is an archive in '{folder}': unpack '{archives[0]}'." if archives else ""


def first_file(*candidates: Path) -> Path | None:
    """Return the first path that is a file, whatever the Unicode normal form of its name."""
    return next((found for path in candidates if is_there(found := stored(path))), None)


def is_there(path: Path) -> bool:
    """Return whether a path is a file or a link; a link to nothing is broken, and opening it says so."""
    return path.is_file() or path.is_symlink()


def plain(name: str) -> str:
    """Return a name in Unicode's composed form (NFC); macOS and some archives store the decomposed one (NFD)."""
    return unicodedata.normalize("NFC", name)


def stored(path: Path) -> Path:
    """Return the path as the disk spells it: a file of this name in another Unicode normal form is found too."""
    if path.name.isascii() or os.path.exists(path) or not os.path.isdir(path.parent):
        return path
    return path.with_name(_spelled(path.parent, path.parent.stat().st_mtime_ns).get(plain(path.name), path.name))


@lru_cache(maxsize=16)
def _spelled(folder: Path, _: int) -> dict[str, str]:
    return {plain(path.name): path.name for path in folder.iterdir()}


def image_size(path: Path) -> tuple[int, int]:
    """Return (width, height) from the header of an image file; ``DataError`` if it cannot be read."""
    try:
        with Image.open(path, formats=FORMATS) as image:
            return image.size
    except BROKEN as error:
        raise broken(path, error) from error


def read_text(path: Path, remedy: str) -> str:
    """Return the text of a UTF-8 file; ``DataError`` if it is missing or not text."""
    try:
        return path.read_text(encoding="utf-8-sig")
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        raise DataError(f"the file '{path}' is missing; {remedy}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: it cannot be read as text ({error}); restore the file") from error


def read_json(path: Path, remedy: str) -> Any:
    """Return the content of a JSON file; ``DataError`` if it is missing or malformed."""
    text = read_text(path, remedy)
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}: it is not well-formed JSON ({error}); restore the file") from error


@contextmanager
def expected_form(path: Path, what: str) -> Iterator[None]:
    """Convert errors of a block that reads parsed content into a ``DataError`` that names the file."""
    try:
        yield
    except (LookupError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise DataError(f"{path}: it is not {what} ({type(error).__name__}: {error}); restore or fix it") from error


def within(box: tuple[float, float, float, float], size: tuple[int, int]) -> tuple[float, float, float, float]:
    """Clip box edges that exceed the image by less than a pixel (rounding errors) to its border."""
    def clip(value: float, limit: int) -> float:
        return min(max(value, 0.0), float(limit)) if -1 < value < limit + 1 else value

    width, height = size
    return clip(box[0], width), clip(box[1], height), clip(box[2], width), clip(box[3], height)


def split_share(stored_as: str) -> tuple[str, int, int]:
    """Parse ``name[first%:last%]``; the percentages are optional.

    >>> split_share("train[:90%]")
    ('train', 0, 90)

    Raises:
        DataError: another form, or an empty share.
    """
    found = _SHARE.fullmatch(stored_as)
    first, last = (int(found["first"] or 0), int(found["last"] or 100)) if found else (0, 0)
    if not found or not first < last <= 100:
        raise DataError(f"data.splits: '{stored_as}' is not a split; write its name, or a share of it as in "
                        "'train[:90%]' and 'train[90%:]'")
    return found["name"], first, last


def in_share(ids: list[str], first: int, last: int, seed: int) -> list[bool]:
    """Return which ids are in ``first`` to ``last`` percent of a random order, a function of seed and ids."""
    order = sorted(ids, key=lambda image_id: hashlib.sha256(f"{seed}/{image_id}".encode(errors="surrogatepass")).digest())
    chosen = set(order[round(len(ids) * first / 100):round(len(ids) * last / 100)])
    return [image_id in chosen for image_id in ids]
