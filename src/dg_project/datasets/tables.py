"""The tables and mappings of kedro-datasets, written whole."""

from __future__ import annotations

from kedro_datasets import json, pandas

from dg_project.datasets.whole import WholeFile


class ParquetDataset(WholeFile, pandas.ParquetDataset):
    """A table with any cell types, lists of boxes included."""


class CSVDataset(WholeFile, pandas.CSVDataset):
    """A table that people open."""


class JSONDataset(WholeFile, json.JSONDataset):
    """A nested mapping."""
