"""Helpers of the reader tests."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from dg_project.core.errors import DataError
from dg_project.data.readers import read_domain


def read(reader: str, root: Path, domain: str, split: str, classes: list[str], **changes: Any) -> pd.DataFrame:
    """Read one split of a domain, without skipped samples."""
    splits = {"train": split}
    manifest, skipped = read_domain(reader, root, domain, "source", splits, classes, **changes)
    assert skipped == []
    return manifest


def stops_and_skips(message: str, **arguments: Any) -> pd.DataFrame:
    """Check that a broken sample stops with the message, or is skipped and counted; return the manifest."""
    with pytest.raises(DataError, match=message):
        read_domain(**arguments)
    manifest, skipped = read_domain(**arguments, on_bad_sample="skip")
    assert len(skipped) == 1
    assert re.search(message, skipped[0])
    return manifest


def boxes(row: Any, classes: list[str]) -> list[tuple[str, tuple[float, ...], bool]]:
    """Return (class name, box, difficult) of a manifest row."""
    return [(classes[label - 1], tuple(box), bool(flag))
            for label, box, flag in zip(row.labels, row.boxes, row.difficult, strict=True)]
