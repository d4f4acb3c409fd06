"""Kedro pipelines: one folder per stage with nodes.py (thin, typed functions) and pipeline.py (wiring only)."""

from dg_project.core.lazy import import_lazily

import_lazily("pandas")  # nodes name it in their signatures, and loading it is half the time of `kedro registry list`
