"""Hooks around every run: typed parameters, checks, one MLflow run, pinned versions, readable errors."""

from dg_project.hooks.checks import PreflightHook
from dg_project.hooks.console import ConsoleHook
from dg_project.hooks.dry_run import DryRunHook
from dg_project.hooks.mlflow.tracking import TrackingHook
from dg_project.hooks.progress import ProgressHook
from dg_project.hooks.run_context import ChosenModelHook, PinRunVersionsHook, SettingsHook
from dg_project.hooks.summary import SummaryHook

__all__ = [
    "ChosenModelHook",
    "ConsoleHook",
    "DryRunHook",
    "PinRunVersionsHook",
    "PreflightHook",
    "ProgressHook",
    "SettingsHook",
    "SummaryHook",
    "TrackingHook",
]
