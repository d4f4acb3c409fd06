"""How the records of a study were made."""

from __future__ import annotations

import os
from functools import partial, update_wrapper
from pathlib import Path
from typing import Any

import pandas as pd
from kedro.pipeline import Node

from dg_project.config import Settings
from dg_project.config.paths import ENVIRONMENT_VARIABLE, OWN_ENVIRONMENT, locate
from dg_project.core.files import weights_hash
from dg_project.core.provenance import commit, hardware, is_dirty, versions

_NO_MATTER = {"workspace", "reporting", "pretrain_ldm", "pretrain_folder_ldm"}
"""Parameters that do not change a record."""
_CELL = ("quality", "source", "method", "seed")
"""Columns that tell one cell of a study from another."""


def state_facts(records: pd.DataFrame, study: Any, settings: Settings, parameters: dict[str, Any], run_id: str,
                pipeline: str) -> dict[str, Any]:
    """Return how the records were made: run, commit, hardware, versions, parameters (with paths as given)."""
    from dg_project.core.device import resolve_device

    return {"pipeline": pipeline, "environment": os.environ.get(ENVIRONMENT_VARIABLE, OWN_ENVIRONMENT),
            "run": run_id, "commit": commit(locate(".")), "dirty": is_dirty(locate(".")),
            "hardware": hardware(str(resolve_device(settings.training.device))), "versions": versions(),
            "generator": weights_hash(Path(settings.ldm.checkpoint)) if settings.synthesis.generator == "ldm" else "",
            "cells": len(records[[name for name in _CELL if name in records]].drop_duplicates()),
            "confidence": study.confidence,
            "parameters": {name: group for name, group in parameters.items() if name not in _NO_MATTER}}


def facts_node(pipeline: str, artifacts: str) -> Node:
    """Return the node that states the facts of a study.

    Args:
        pipeline: name of the pipeline, and of the parameters of the study.
        artifacts: prefix of its artifacts.
    """
    function = update_wrapper(partial(state_facts, pipeline=pipeline), state_facts)
    inputs = [f"{artifacts}_records", f"params:{pipeline}", "params:settings", "parameters", "params:run_id"]
    # Tagged like the node that trains, because it states its hardware.
    return Node(function, inputs, f"{artifacts}_facts", name="state_facts", tags="gpu")
