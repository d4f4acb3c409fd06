"""Project settings: hooks, configuration patterns. Everything here must import fast."""

from __future__ import annotations

from dg_project.hooks import (
         ChosenModelHook,
         ConsoleHook,
         DryRunHook,
         ParametersHook,
         PinRunVersionsHook,
         PipelineParametersHook,
         PreflightHook,
         RunIdHook,
         TrackingHook,
)

# Kedro calls hooks last to first; those that must come before others say so themselves (tryfirst).
HOOKS = (TrackingHook(), PinRunVersionsHook(), RunIdHook(), DryRunHook(), PreflightHook(), ChosenModelHook(),
         PipelineParametersHook(), ParametersHook(), ConsoleHook())

# kedro-telemetry comes with Kedro; it sends nothing here and, unplugged, says nothing either.
DISABLE_HOOKS_FOR_PLUGINS = ("kedro-telemetry",)

CONFIG_LOADER_ARGS = {
    "base_env": "base",
    "default_run_env": "local",
    # An environment changes single keys (training.max_steps); the default would drop the rest of the group.
    "merge_strategy": {"parameters": "soft"},
    "config_patterns": {"mlflow": ["mlflow*", "mlflow*/**"]},
}
