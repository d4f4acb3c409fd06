"""Tables and mappings of kedro-datasets, written atomically."""

from __future__ import annotations

import numbers

from kedro_datasets import json, pandas
from kedro_datasets._typing import TablePreview

from dg_project.datasets.atomic import AtomicFile

_LONGEST_CELL = 200


class ParquetDataset(AtomicFile, pandas.ParquetDataset):
    """A table with any cell types, including lists of boxes."""

    def preview(self, nrows: int = 5) -> TablePreview:
        """Return the first rows for Kedro-Viz, with lists as text (its JSON has no arrays)."""
        rows = self.load().head(nrows)
        return TablePreview(rows.map(_readable).to_dict(orient="split"))


class CSVDataset(AtomicFile, pandas.CSVDataset):
    """A table meant to be opened by people."""


class JSONDataset(AtomicFile, json.JSONDataset):
    """A nested mapping."""


def _readable(cell: object) -> object:
    cell = _plain(cell)
    return cell if isinstance(cell, numbers.Number | str) else str(cell)[:_LONGEST_CELL]


def _plain(cell: object) -> object:
    """Convert nested arrays, as parquet returns them, to nested lists."""
    cell = cell.tolist() if hasattr(cell, "tolist") else cell
    return [_plain(part) for part in cell] if isinstance(cell, list) else cell
