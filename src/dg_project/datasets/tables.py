"""Tables and mappings of kedro-datasets, written atomically."""

from __future__ import annotations

import json as text

from kedro_datasets import json, pandas
from kedro_datasets._typing import JSONPreview, TablePreview

from dg_project.datasets.atomic import AtomicFile
from dg_project.datasets.previews import NOT_MADE, empty_table, table_rows


class ParquetDataset(AtomicFile, pandas.ParquetDataset):
    """A table with any cell types, including lists of boxes."""

    def preview(self, nrows: int = 5) -> TablePreview:
        """Return the first rows for Kedro-Viz."""
        return TablePreview(table_rows(self.load(), nrows) if self.exists() else empty_table())


class CSVDataset(AtomicFile, pandas.CSVDataset):
    """A table meant to be opened by people."""

    def preview(self, nrows: int = 5) -> TablePreview:
        """Return the first rows for Kedro-Viz."""
        return TablePreview(table_rows(self.load(), nrows) if self.exists() else empty_table())


class JSONDataset(AtomicFile, json.JSONDataset):
    """A nested mapping."""

    def preview(self) -> JSONPreview:
        """Return the mapping for Kedro-Viz."""
        return JSONPreview(text.dumps(self.load() if self.exists() else NOT_MADE))
