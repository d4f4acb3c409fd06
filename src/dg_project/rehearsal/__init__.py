"""What a run would do and need, found out without doing it: nothing in here trains, downloads or writes."""

from dg_project.rehearsal.folds import rehearse_folds
from dg_project.rehearsal.plan import Plan, rehearse

__all__ = ["Plan", "rehearse", "rehearse_folds"]
