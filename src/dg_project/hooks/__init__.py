"""What happens around every run: checks before it, one tracked MLflow run, pinned versions, a tidy console."""

from dg_project.hooks.chosen_model import ChosenModelHook
from dg_project.hooks.console import ConsoleHook
from dg_project.hooks.dry_run import DryRunHook
from dg_project.hooks.named import PipelineParametersHook
from dg_project.hooks.parameters import ParametersHook
from dg_project.hooks.preflight import PreflightHook
from dg_project.hooks.tracking import TrackingHook
from dg_project.hooks.versions import PinRunVersionsHook, RunIdHook

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
