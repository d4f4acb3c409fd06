"""Read folders of images and labels into checked manifests."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from dg_project.config import SEMANTIC_CLASSES, DataParams, Task
from dg_project.data.card import check_classes, data_card, format_card, unlabelled_card
from dg_project.data.manifest import ADAPT, COLUMNS, NOTES, noted
from dg_project.data.origin import check_classes as check_names
from dg_project.pipelines.figure import Figure

logger = logging.getLogger(__name__)


def ingest_source(data: DataParams, mask_classes: Sequence[str] = SEMANTIC_CLASSES) -> tuple[pd.DataFrame, list[str]]:
    """Read every split of the source domain; return its manifest and a message per skipped sample.

    Args:
        data: data parameters.
        mask_classes: names of the train ids of masks.
    """
    from dg_project.data.readers import configured, read_domain

    limits = {"train": data.max_train} if data.max_train else None
    return read_domain(role="source", limits=limits, mask_classes=mask_classes,
                       **configured(data, Path(data.root), data.source))


def ingest_targets(data: DataParams,
                   mask_classes: Sequence[str] = SEMANTIC_CLASSES) -> tuple[pd.DataFrame, list[str]]:
    """Read the test split of every target domain; other target splits are never opened. See ``ingest_source``."""
    from dg_project.data.readers import configured, read_domain

    parts = [read_domain(role="target", mask_classes=mask_classes, **configured(data, Path(data.root), name))
             for name in data.targets]
    manifest = pd.concat([manifest for manifest, _ in parts], ignore_index=True)
    manifest.attrs = {note: noted([manifest for manifest, _ in parts], note) for note in NOTES}
    return manifest, [message for _, skipped in parts for message in skipped]


def ingest_adapt(data: DataParams) -> tuple[pd.DataFrame, list[str]]:
    """Read the images, not the labels, of ``data.adapt_split`` of every target domain; no rows without a split."""
    return _unlabelled(data, data.adapt_split)


def ingest_adapt_always(data: DataParams) -> tuple[pd.DataFrame, list[str]]:
    """Like ``ingest_adapt``, with the split ``adapt`` as the default (for UDA pipelines)."""
    return _unlabelled(data, data.adapt_split or "adapt")


def _unlabelled(data: DataParams, split: str | None) -> tuple[pd.DataFrame, list[str]]:
    from dg_project.data.readers import configured, read_domain

    if split is None:
        return pd.DataFrame(columns=list(COLUMNS)), []
    parts = [read_domain(role="adapt", **configured(data, Path(data.root), name, {ADAPT: split}))
             for name in data.targets]
    manifest = pd.concat([manifest for manifest, _ in parts], ignore_index=True)
    return manifest, [message for _, skipped in parts for message in skipped]


def make_adapt_card(adapt: pd.DataFrame, target: pd.DataFrame, skipped: list[str]) -> dict[str, Any]:
    """Count the unlabelled images.

    Raises:
        DataError: an unlabelled image is also a test image of its domain.
    """
    card = unlabelled_card(adapt, target, skipped)
    logger.info("unlabelled target images for UDA methods: %s", card["images"] or "none")
    return card


def draw_contact_sheet(source: pd.DataFrame, target: pd.DataFrame, data: DataParams, mask_classes: Sequence[str],
                       task: Task) -> Figure:
    """Draw a few images of every domain with the labels that the task uses."""
    from dg_project.figures.contact_sheet import contact_sheet

    everything = pd.concat([source, target], ignore_index=True)
    return contact_sheet(everything, Path(data.root), data.classes, mask_classes, task)


def make_card(source: pd.DataFrame, target: pd.DataFrame, skipped_source: list[str], skipped_target: list[str],
              data: DataParams, task: str = "detection") -> dict[str, Any]:
    """Count the images and boxes; log and return the counts.

    Raises:
        DataError: no domain has boxes of a class; not checked for segmentation, which uses no boxes.
    """
    everything = pd.concat([source, target], ignore_index=True)
    check_names(everything, data.classes, "detection", "this run (data.classes)")
    warnings, left_aside = (noted([source, target], note) for note in NOTES)
    card = data_card(everything, data.classes, [*skipped_source, *skipped_target], data.ignore_classes, warnings,
                     left_aside)
    for message in card["warnings"]:
        logger.warning("%s", message)
    logger.info("data card\n%s", format_card(card))
    for warning in check_classes(card) if task != "segmentation" else []:
        logger.warning(warning)
    return card
