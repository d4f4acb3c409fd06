"""Project settings of Kedro: hooks and configuration patterns. Every import here must be fast."""

from __future__ import annotations

from typing import Any

from dg_project.hooks import (
    ChosenModelHook,
    ConsoleHook,
    DryRunHook,
    PinRunVersionsHook,
    PreflightHook,
    ProgressHook,
    SettingsHook,
    SummaryHook,
    TrackingHook,
)

# Kedro calls hooks last to first; those that must come before others are marked tryfirst.
HOOKS = (SummaryHook(), TrackingHook(), ProgressHook(), PinRunVersionsHook(), DryRunHook(), PreflightHook(),
         ChosenModelHook(), SettingsHook(), ConsoleHook())

# kedro-telemetry comes with Kedro; it is switched off.
DISABLE_HOOKS_FOR_PLUGINS = ("kedro-telemetry",)

CONFIG_LOADER_ARGS: dict[str, Any] = {
    "base_env": "base",
    "default_run_env": "local",
    # An environment changes single keys (training.max_steps); Kedro's default would drop the rest of the group.
    "merge_strategy": {"parameters": "soft"},
    "config_patterns": {"mlflow": ["mlflow*", "mlflow*/**"]},
}
