"""Alias of ``dg_project.export.served``: MLflow models exported before the move name this module as their loader."""

from dg_project.export.served import _load_pyfunc

__all__ = ["_load_pyfunc"]
