"""The plan of leave-one-domain-out: its folds, and what one of them costs as often as there are folds and seeds."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from dg_project.diffusion.user import LDMUser
from dg_project.errors import DGError
from dg_project.leave_one_out import Fold, chosen_methods, count_folder, fold_settings, folds, layout, read_folder
from dg_project.methods import method_classes
from dg_project.parameters import LeaveOneOutParams, Parameters
from dg_project.rehearsal.data import FIRST
from dg_project.rehearsal.plan import Plan, describe_device, describe_disk, describe_training
from dg_project.rehearsal.weights import diffusion_weights


def rehearse_folds(settings: Parameters, root: Path, workspace: Path) -> Plan:
    """Find out what ``--pipeline=leave_one_out`` would do and need; see ``rehearse``.

    Args:
        settings: all parameters, paths located.
        root: folder of the domains.
        workspace: where the work would be kept.

    Raises:
        ParameterError: a method cannot take part.
    """
    plan, params = Plan(), settings.leave_one_out
    methods = chosen_methods(params, settings.method)
    try:
        domains, classes = layout(root, params)
    except DGError as error:
        plan.problems.append(str(error))
        return plan
    listed, first = _look(plan, settings, root, domains, classes)
    device = describe_device(plan, settings)
    if listed is None or first is None:
        plan.add("folds", "not planned: not every domain could be read")
        return plan
    cells = len(domains) * len(params.seeds)
    tested = _describe_folds(plan, params, listed, methods, settings.training.max_steps)
    if any(issubclass(method_classes()[name], LDMUser) for name in methods):
        for parameter, (text, _) in diffusion_weights(settings.ldm).items():
            plan.add("weights", f"{parameter}: {text}")
    held_out = domains[0]  # any: the cost of a step is that of each fold
    fold = Fold(held_out, first[first["domain"] != held_out], first[first["domain"] == held_out])
    one = fold_settings(settings, fold, classes, params.seeds[0])
    disk = describe_training(plan, one, fold.source, root, [name for name in methods for _ in range(cells)], tested,
                             device)
    describe_disk(plan, disk, workspace)
    return plan


def _look(plan: Plan, settings: Parameters, root: Path, domains: list[str],
          classes: list[str]) -> tuple[pd.DataFrame | None, pd.DataFrame | None]:
    """Count every domain and check its first images; return a row per image and the first rows, if all can be read."""
    counts: dict[str, int] = {}
    first: list[pd.DataFrame] = []
    for name in domains:
        try:
            counts[name] = count_folder(root, name, classes, settings.data)
            rows, skipped = read_folder(root, name, classes, settings.data, FIRST)
        except DGError as error:
            plan.problems.append(str(error))
            continue
        plan.add("data", f"{name}: {counts[name]:,} images")
        plan.problems += skipped if settings.data.on_bad_sample == "stop" else []
        first.append(rows.assign(split="train"))
    plan.add("data", f"{len(classes)} classes: {', '.join(classes)}")
    if len(first) < len(domains):
        return None, None
    plan.add("data", "folders read and first images checked; the run checks all")
    listed = pd.DataFrame([(name, f"{name}/{k}") for name, number in counts.items() for k in range(number)],
                          columns=["domain", "image_id"])
    return listed.assign(split="all", role="source"), pd.concat(first, ignore_index=True)


def _describe_folds(plan: Plan, params: LeaveOneOutParams, listed: pd.DataFrame, methods: list[str],
                    steps: int) -> int:
    """Return how many images a fold scores, on average."""
    scored = []
    for fold in folds(listed, params.train_share, params.seeds[0]):  # how many there are depends on no seed and no id
        parts = fold.source["split"].value_counts()
        plan.add("folds", f"without {fold.held_out}: {parts.get('train', 0):,} images of "
                          f"{', '.join(dict.fromkeys(fold.source['domain']))} train, {parts.get('val', 0):,} validate; "
                          f"{(fold.scored['role'] == 'target').sum():,} unseen ones are scored")
        scored.append(len(fold.scored))
    trainings = len(scored) * len(params.seeds) * len(methods)
    plan.add("folds", f"{len(scored)} folds x seeds {', '.join(map(str, params.seeds))} x {', '.join(methods)}: "
                      f"{trainings} trainings of {steps:,} steps; those that the workspace has are not repeated")
    return round(sum(scored) / len(scored))
