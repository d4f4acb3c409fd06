"""Read the images to predict, chunk by chunk: a folder, a list, a single image, or a video."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dg_project.core.errors import DataError
from dg_project.core.extras import av
from dg_project.core.files import fingerprint
from dg_project.data.images import BROKEN, IMAGE_SUFFIXES, broken, read_image

logger = logging.getLogger(__name__)

IMAGES = (*IMAGE_SUFFIXES, ".gif")
VIDEOS = (".mp4", ".mov", ".avi", ".mkv", ".webm", ".m4v", ".mpg", ".mpeg", ".ts")
CHUNK = 32
"""Images per chunk; an interrupted run repeats at most one chunk."""


@dataclass(frozen=True)
class Frame:
    """One image, or the reason why it cannot be read.

    Attributes:
        name: path relative to the input folder, or ``frame_000012``.
        image: uint8 (3, H, W) with EXIF orientation applied, or None if unreadable.
        problem: reason, or ``""``.
        seconds: time in the video; NaN for images.
    """

    name: str
    image: Tensor | None
    problem: str = ""
    seconds: float = float("nan")


class Source(ABC):
    """Images in a fixed order, in chunks with a key of their content."""

    kind: str

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    @abstractmethod
    def total(self) -> int | None:
        """Number of images, or None if unknown before opening them."""

    @abstractmethod
    def chunks(self, finished: Callable[[str], bool]) -> Iterator[tuple[str, Iterator[Frame]]]:
        """Yield (key, frames) of each chunk; the images of a finished chunk are not opened."""


class ImageFiles(Source):
    """Image files.

    Args:
        path: input folder, list or image.
        files: output name -> file, in the order of prediction.
    """

    kind = "images"

    def __init__(self, path: Path, files: dict[str, Path]) -> None:
        super().__init__(path)
        self.files = files

    @property
    def total(self) -> int:
        """Number of images."""
        return len(self.files)

    def chunks(self, finished: Callable[[str], bool]) -> Iterator[tuple[str, Iterator[Frame]]]:
        """See ``Source.chunks``. A replaced image changes the key of its chunk."""
        items = iter(self.files.items())
        while part := list(islice(items, CHUNK)):
            yield fingerprint([(name, *_stamp(path)) for name, path in part]), map(_read, part)


class Video(Source):
    """Every n-th frame of the first video stream of a file."""

    kind = "video"

    def __init__(self, path: Path, every: int) -> None:
        super().__init__(path)
        self.every = every
        with self._opened() as container:
            stream = container.streams.video[0]
            self.rate = stream.average_rate or stream.guessed_rate or 25
            self.frames = int(stream.frames)

    @property
    def total(self) -> int | None:
        """Number of selected frames; None if the file does not say."""
        return -(-self.frames // self.every) or None

    def chunks(self, finished: Callable[[str], bool]) -> Iterator[tuple[str, Iterator[Frame]]]:
        """See ``Source.chunks``. Finished chunks are decoded and dropped, because later frames depend on them."""
        with self._opened() as container:
            frames = _decoded(container, self.path, self.every)
            number = 0
            while (first := next(frames, None)) is not None:
                key = f"{number:08d}"
                if finished(key):
                    for _ in islice(frames, CHUNK - 1):
                        pass
                    yield key, iter(())
                else:
                    yield key, (_frame(*one) for one in [first, *islice(frames, CHUNK - 1)])
                number += 1

    def _opened(self) -> Any:
        library = av()
        try:
            container = library.open(str(self.path))
        except (library.error.FFmpegError, OSError) as error:
            raise DataError(f"'{self.path}' is not a readable video ({error}); check the file, or "
                            "convert it to MP4") from error
        if not container.streams.video:
            raise DataError(f"'{self.path}' has no video stream")
        return container


def open_source(path: Path, every: int = 1) -> Source:
    """Open a folder (searched recursively), a ``.txt`` list, an image or a video.

    Args:
        path: input; entries of a list are relative to the list's folder.
        every: use every n-th frame of a video.

    Raises:
        DataError: the path does not exist, or has no usable images.
        MissingExtraError: the input is a video and PyAV is not installed.
    """
    suffix = path.suffix.lower()
    if path.is_dir():
        names = sorted(p.relative_to(path).as_posix() for p in path.rglob("*")
                       if p.suffix.lower() in IMAGES and p.is_file() and not p.name.startswith("."))
        files = {name: path / name for name in names}
        _tell_others(path)
    elif not path.is_file():
        raise DataError(f"'{path}' does not exist; give a folder of images, a .txt that lists images, "
                        "an image or a video")
    elif suffix == ".txt":
        files = _listed(path)
    elif suffix in IMAGES:
        files = {path.name: path}
    elif suffix in VIDEOS:
        return Video(path, every)
    else:
        raise DataError(f"'{path}' is neither a folder, a .txt list, an image ({', '.join(IMAGES)}) nor "
                        f"a video ({', '.join(VIDEOS)})")
    if not files:
        raise DataError(f"'{path}' has no image; images end with {', '.join(IMAGES)}")
    return ImageFiles(path, files)


def _tell_others(folder: Path) -> None:
    """Log the files of a folder that are not read, by ending."""
    endings = Counter(p.suffix.lower() or "no ending" for p in folder.rglob("*")
                      if p.is_file() and p.suffix.lower() not in IMAGES and not p.name.startswith("."))
    if endings:
        logger.info("files of '%s' that are no images are not read: %s", folder,
                    ", ".join(f"{number} {name}" for name, number in endings.most_common()))


def _listed(path: Path) -> dict[str, Path]:
    """Return the images of a list, one path per line; names stay inside the output folder."""
    try:
        lines = [line.strip() for line in path.read_text(encoding="utf-8-sig").splitlines()]
    except UnicodeDecodeError as error:
        raise DataError(f"'{path}' is not UTF-8 text ({error}); write one path per line") from error
    files: dict[str, Path] = {}
    for line in filter(None, lines):
        entry = Path(line).expanduser()
        name = Path(*(part for part in entry.parts if part not in ("..", entry.anchor))).as_posix()
        if name in files and files[name] != path.parent / entry:
            raise DataError(f"'{path}' lists two images whose results would both be named '{name}'; "
                            "predict them in two runs")
        files[name] = path.parent / entry
    return files


def _stamp(path: Path) -> tuple[int, int]:
    """Return size and modification time of a file; zeros if it does not exist."""
    try:
        status = path.stat()
    except OSError:
        return 0, 0
    return status.st_size, status.st_mtime_ns


def _read(item: tuple[str, Path]) -> Frame:
    name, path = item
    try:
        return Frame(name, read_image(path, rotate=True))
    except BROKEN as error:
        return Frame(name, None, str(broken(path, error)))


def _decoded(container: Any, path: Path, every: int) -> Iterator[tuple[int, Any]]:
    """Yield (number, frame) of every n-th frame; a decoding error is yielded last, instead of a frame."""
    library, number = av(), 0
    frames = container.decode(video=0)
    while True:
        try:
            frame = next(frames, None)
        except library.error.FFmpegError as error:
            yield number, DataError(f"the video '{path}' cannot be read after frame {number} ({error})")
            return
        if frame is None:
            return
        if number % every == 0:
            yield number, frame
        number += 1


def _frame(number: int, frame: Any) -> Frame:
    name = f"frame_{number:06d}"
    if isinstance(frame, DataError):
        return Frame(name, None, str(frame))
    pixels = torch.from_numpy(np.ascontiguousarray(frame.to_ndarray(format="rgb24").transpose(2, 0, 1)))
    return Frame(name, pixels, seconds=float(frame.time) if frame.time is not None else float("nan"))
