"""What runs. Each folder is a pipeline: nodes.py (thin, typed functions) and pipeline.py (wiring only)."""
