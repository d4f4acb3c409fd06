"""Evaluate a model on every domain: predictions, scores, intervals, records, features."""
