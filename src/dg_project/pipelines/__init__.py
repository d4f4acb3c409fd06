"""Kedro pipelines: one folder per stage with nodes.py (thin, typed functions) and pipeline.py (wiring only)."""
