"""Read folders of images and labels into checked manifests."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pandas as pd

from dg_project.config import DataParams
from dg_project.data.card import check_classes, data_card, format_card, unlabelled_card
from dg_project.data.manifest import ADAPT, COLUMNS

logger = logging.getLogger(__name__)


def ingest_source(data: DataParams) -> tuple[pd.DataFrame, list[str]]:
    """Read every split of the source domain; return its manifest and a message per skipped sample."""
    from dg_project.data.readers import configured, read_domain

    limits = {"train": data.max_train} if data.max_train else None
    return read_domain(role="source", limits=limits, **configured(data, Path(data.root), data.source))


def ingest_targets(data: DataParams) -> tuple[pd.DataFrame, list[str]]:
    """Read the test split of every target domain; other target splits are never opened."""
    from dg_project.data.readers import configured, read_domain

    parts = [read_domain(role="target", **configured(data, Path(data.root), name)) for name in data.targets]
    manifest = pd.concat([manifest for manifest, _ in parts], ignore_index=True)
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


def make_card(source: pd.DataFrame, target: pd.DataFrame, skipped_source: list[str], skipped_target: list[str],
              data: DataParams, task: str = "detection") -> dict[str, Any]:
    """Count the images and boxes; log and return the counts.

    Raises:
        DataError: no domain has boxes of a class; not checked for segmentation, which uses no boxes.
    """
    everything = pd.concat([source, target], ignore_index=True)
    card = data_card(everything, data.classes, [*skipped_source, *skipped_target], data.ignore_classes)
    logger.info("data card\n%s", format_card(card))
    for warning in check_classes(card) if task != "segmentation" else []:
        logger.warning(warning)
    return card
