"""Checks of the images of a training before it starts, or before a finished one is used again."""

from __future__ import annotations

import pandas as pd

from dg_project.config import Settings
from dg_project.core.errors import DataError
from dg_project.data.manifest import select
from dg_project.data.origin import check_classes, check_images, check_pairs
from dg_project.experiments.origin import check_sampled, check_source
from dg_project.experiments.training_data import TrainingData


def check_data(data: TrainingData, settings: Settings, name: str) -> None:
    """Check that the images and labels of a training belong together, and that there is something to learn.

    Args:
        data: images that the method needs.
        settings: all parameters.
        name: method name.

    Raises:
        DataError: another source, labels of other classes, other files than those that were ingested, pseudo images of
            other domains or of another version of the source, or a training split without labels.
    """
    read = data.source[data.source["split"].isin(["train", "val"])]  # test images stay closed
    check_source(read, settings.data.source, "this run")
    check_classes(data.source, settings.classes, settings.task, f"the method '{name}' (the classes of its task)")
    check_images(read, data.source_root)
    check_learnable(select(data.source, split="train"), settings)
    if data.pseudo is not None and data.pseudo_root is not None:
        check_sampled(data.pseudo, settings)
        check_classes(data.pseudo, settings.classes, settings.task, f"the method '{name}' (the classes of its task)")
        check_pairs(data.pseudo, data.source)
        check_images(data.pseudo, data.pseudo_root)
    if data.adapt is not None:
        check_images(data.adapt, data.source_root)


def check_learnable(train: pd.DataFrame, settings: Settings) -> None:
    """Raise ``DataError`` if no training image has a label that the task learns from."""
    where = f"the split train of '{', '.join(train['domain'].unique())}'"
    if train.empty or settings.task == "classification":  # these have errors of their own
        return
    if settings.task == "segmentation":
        if "mask_pixels" in train and not train["mask_pixels"].map(sum).any() and (train["mask"] != "").any():
            raise DataError(f"{where}: no mask has a pixel of a class, so there is nothing to learn; check the masks, "
                            "the reader and its options")
        return
    boxes, hard = int(train["labels"].map(len).sum()), int(train["difficult"].map(sum).sum())
    if boxes == hard:
        what = f"all of its {boxes} objects are difficult" if boxes else "it has no object"
        raise DataError(f"{where} has nothing to learn: {what}; check the labels, data.classes and "
                        "data.other_classes")
