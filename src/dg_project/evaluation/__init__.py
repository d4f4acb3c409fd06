"""How well a model does on every domain: predictions, scores, intervals, records, features."""
