"""Draw n of a list: the first n, or equally many of each folder or class, because sorted lists begin with one class."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from itertools import chain, zip_longest
from pathlib import PurePosixPath
from typing import TypeVar

import pandas as pd

Item = TypeVar("Item")


def spread(ids: Sequence[str], groups: Sequence[str], n: int) -> list[int]:
    """Return n positions, ascending: equally many of each group as far as there are, drawn by the hash of their ids.

    Lists of one group keep their order: the first n.

    >>> spread(["a", "b", "c"], ["x", "x", "x"], 2)
    [0, 1]
    """
    by_group: dict[str, list[int]] = {}
    for position, group in enumerate(groups):
        by_group.setdefault(group, []).append(position)
    if len(by_group) <= 1:
        return list(range(min(n, len(ids))))
    order = [sorted(by_group[name], key=lambda position: _hash(ids[position])) for name in sorted(by_group, key=_hash)]
    turns = chain.from_iterable(zip_longest(*order))
    return sorted([position for position in turns if position is not None][:n])


def spread_rows(rows: pd.DataFrame, n: int | None) -> pd.DataFrame:
    """Return n rows of a manifest of one domain, re-indexed: spread over folders, or else over classes.

    Images of one folder are the first n, unless these show one class only and the others show more.
    """
    if n is None or len(rows) <= n:
        return rows.reset_index(drop=True)
    groups = [str(PurePosixPath(str(name)).parent) for name in rows["image"]]
    if len(set(groups)) == 1 and shows_one_class(rows.head(n)) and not shows_one_class(rows):
        groups = [str(next(iter(labels), "")) for labels in rows["labels"]]
    return rows.iloc[spread([str(name) for name in rows["image_id"]], groups, n)].reset_index(drop=True)


def varied_rows(rows: pd.DataFrame, shown: Sequence[set[int]], n: int) -> pd.DataFrame:
    """Return up to n rows that together show many classes, by the hash of their ids among equals, re-indexed.

    Args:
        rows: rows of one domain.
        shown: classes that each row shows.
        n: number of rows.
    """
    order = sorted(range(len(rows)), key=lambda position: _hash(str(rows["image_id"].iloc[position])))
    chosen: list[int] = []
    seen: set[int] = set()
    while order and len(chosen) < n:
        best = max(order, key=lambda position: (len(shown[position] - seen), bool(shown[position])))
        order.remove(best)
        chosen.append(best)
        seen |= shown[best]
    return rows.iloc[chosen].reset_index(drop=True)


def shuffled(items: Sequence[tuple[str, Item]], n: int) -> list[tuple[str, Item]]:
    """Return n items (id, value), drawn by the hash of their ids, in the order of the list."""
    chosen = sorted(range(len(items)), key=lambda position: _hash(items[position][0]))[:n]
    return [items[position] for position in sorted(chosen)]


def shows_one_class(rows: pd.DataFrame) -> bool:
    """Return whether all objects of a manifest are of one class; False without objects."""
    return len({int(label) for labels in rows["labels"] for label in labels}) == 1


def _hash(name: str) -> bytes:
    return hashlib.sha256(name.encode(errors="surrogatepass")).digest()
