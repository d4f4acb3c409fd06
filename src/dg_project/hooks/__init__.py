"""What happens around every run: checks before it, one tracked MLflow run, pinned versions, a tidy console."""

from dg_project.hooks.checks import ParametersHook, PipelineParametersHook, PreflightHook
from dg_project.hooks.console import ConsoleHook
from dg_project.hooks.dry_run import DryRunHook
from dg_project.hooks.mlflow.tracking import TrackingHook
from dg_project.hooks.run_context import ChosenModelHook, PinRunVersionsHook, RunIdHook

__all__ = [
    "ChosenModelHook",
    "ConsoleHook",
    "DryRunHook",
    "ParametersHook",
    "PinRunVersionsHook",
    "PipelineParametersHook",
    "PreflightHook",
    "RunIdHook",
    "TrackingHook",
]
