"""Readers by name: one file per layout on disk, all of them return the same manifest."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import pandas as pd

from dg_project.domains.readers.base import Reader, collect
from dg_project.domains.readers.voc import VOCReader
from dg_project.errors import ParameterError, nearest

READERS: dict[str, Reader] = {"voc": VOCReader()}


def read_domain(reader: str, root: Path, domain: str, role: Literal["source", "target"], splits: dict[str, str],
                classes: list[str], on_bad_sample: Literal["stop", "skip"] = "stop",
                limits: dict[str, int] | None = None) -> tuple[pd.DataFrame, list[str]]:
    """Read and check one domain: every image is decoded, every box and class checked.

    Args:
        reader: name in ``READERS``.
        root: folder that holds one folder per domain.
        domain: name of the domain and of its folder.
        role: what the domain is used for.
        splits: our split name -> the data set's split name; only these are opened.
        classes: class names; their order gives the labels 1..C.
        on_bad_sample: ``stop`` at the first broken sample, or ``skip`` it.
        limits: our split name -> read only the first n images.

    Returns:
        The manifest (columns of ``domains.manifest.COLUMNS``, paths relative to ``root``) and one message per skipped
        sample.

    Raises:
        DataError: a folder or list is missing, a split is empty or wholly broken, or a sample is broken (``stop``).
        ParameterError: there is no such reader.
    """
    if reader not in READERS:
        raise ParameterError(f"data.reader: unknown reader '{reader}'.{nearest(reader, READERS)}")
    return collect(READERS[reader], Path(root), domain, role, splits, classes, on_bad_sample, limits or {})
