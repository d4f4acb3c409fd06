"""Errors that a user can fix: each message names the file or key and the remedy."""

from __future__ import annotations

import difflib
import logging
import re
from collections.abc import Callable, Iterable

logger = logging.getLogger(__name__)


_RAW = re.compile(r"\n(?!  )|[^\n\x20-\x7e]")


def printable(text: str) -> str:
    r"""Return a text with control characters escaped, because names of files may hold commands for terminals.

    Of line breaks only those of an indented list stay.

    >>> printable("the image 'a\x1b[2Jb\n.jpg'")
    "the image 'a\\x1b[2Jb\\n.jpg'"
    """
    def shown(found: re.Match[str]) -> str:
        letter = found[0]
        return letter if letter.isprintable() else letter.encode("unicode_escape").decode()

    return _RAW.sub(shown, text)


class DGError(Exception):
    """Base class of all errors that this project raises on purpose."""

    def __str__(self) -> str:
        """Return the message, with control characters escaped."""
        return printable(super().__str__())


class DataError(DGError):
    """A dataset, image or label cannot be used as it is."""


class CheckpointError(DGError):
    """A model or diffusion checkpoint cannot be opened."""


class ParameterError(DGError):
    """A parameter is unknown or has a value outside its range."""


class ClusterError(DGError):
    """A cluster cannot be reached, or its workers cannot run the jobs."""


class TrainingError(DGError):
    """Training cannot continue, for example because a loss is not finite."""


def nearest(name: str, known: Iterable[str]) -> str:
    """Return ``" Did you mean 'x'?"`` for the known name closest to ``name``, or all names.

    >>> nearest("drfs", ["erm", "drsf"])
    " Did you mean 'drsf'?"
    """
    names = sorted(known)
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    return f" Did you mean '{close[0]}'?" if close else f" Known: {', '.join(names)}."


def exit_status(work: Callable[[], object]) -> int:
    """Run a command; return 0, or log the error that a user can fix and return 1."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        work()
    except DGError as error:
        logger.error("%s: %s", type(error).__name__, error)
        return 1
    return 0
