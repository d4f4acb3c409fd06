"""Say which trained model is used, and whether it may be another one than was meant."""

from __future__ import annotations

from pathlib import Path

from dg_project.config import TrainingParams
from dg_project.config.paths import OWN_ENVIRONMENT
from dg_project.core.model_versions import is_shipped
from dg_project.methods.model_folder import read_card


def describe_model(folder: Path) -> str:
    """Return ``drsf for detection, step 300 of 300, source_val 66.4: <folder>``."""
    spec, meta = read_card(folder)
    score = meta.get("score")
    said = "" if score is None else f", {meta.get('selection', 'score')} {100 * score:.1f}"
    steps = f"step {meta.get('step', '?')} of {meta.get('max_steps', '?')}"
    shipped = " (ships with the project; make run trains your own)" if is_shipped(folder) else ""
    return f"{spec.method} for {spec.task}, {steps}{said}: {folder}{shipped}"


def doubts(folder: Path, environment: str = OWN_ENVIRONMENT) -> str:
    """Return why a model may not be the one that was meant: a short training, another environment; else ``""``."""
    meta, usual = read_card(folder)[1], TrainingParams().max_steps
    steps, made_in = meta.get("max_steps", usual), meta.get("environment", environment)
    reasons = [f"for {steps} steps (the project's default: {usual})"] if steps < usual else []
    reasons += [f"in the environment '{made_in}', not in '{environment}'"] if made_in != environment else []
    return f"the model was trained {' and '.join(reasons)}; name another one if you meant another" if reasons else ""
