"""The report of a run, the model card and the results pages."""
