"""Manifest rows for classification: one row per labelled object, or whole images."""

from __future__ import annotations

from typing import Any

import pandas as pd

from dg_project.core.errors import DataError


def objects(manifest: pd.DataFrame, margin: float, min_side: int, min_visibility: float = -1.0) -> pd.DataFrame:
    """Return one row per labelled object, without difficult and tiny ones.

    The new column ``crop`` selects the object's part of the image. The object's index is appended to ids, so that an
    object has the same id in every domain and in the source image of a pseudo image.

    Args:
        manifest: rows of images. In image folders each image is one object as large as the image.
        margin: margin of a crop around its box, in box sides; clipped at the image border.
        min_side: objects whose longer side has fewer pixels are skipped.
        min_visibility: pseudo objects that score less (column ``visibility``) get ``kept`` False.

    Raises:
        DataError: no object is left.
    """
    rows = [_object(row, k, margin, min_visibility) for row in manifest.to_dict("records")
            for k, (box, difficult) in enumerate(zip(row["boxes"], row["difficult"], strict=True))
            if not difficult and max(box[2] - box[0], box[3] - box[1]) >= min_side]
    if not rows:
        raise DataError(f"no labelled object has a side of {min_side} pixels or more; lower classification.min_side, "
                        "or check the data card")
    return pd.DataFrame(rows)


def whole_images(unlabelled: pd.DataFrame, source: pd.DataFrame) -> pd.DataFrame:
    """Return the unlabelled rows, for a classifier that treats each image as one object.

    Raises:
        DataError: source objects are crops; cropping the unlabelled images would use their labels.
    """
    for row in source.to_dict("records"):
        if [[float(value) for value in box] for box in row["boxes"]] != [[0, 0, row["width"], row["height"]]]:
            raise DataError(f"the source image '{row['image']}' shows objects in boxes; to crop those of the "
                            "unlabelled images would take their labels, so classification can adapt only to data sets "
                            "of one object per image")
    return unlabelled


def _object(row: dict[Any, Any], k: int, margin: float, min_visibility: float) -> dict[str, Any]:
    x0, y0, x1, y1 = (float(value) for value in row["boxes"][k])
    across, down = margin * (x1 - x0), margin * (y1 - y0)
    crop = [max(0, int(x0 - across)), max(0, int(y0 - down)),
            min(int(row["width"]), round(x1 + across)), min(int(row["height"]), round(y1 + down))]
    own: dict[str, Any] = {"image_id": f"{row['image_id']}_{k}", "boxes": [[x0, y0, x1, y1]],
                           "labels": [int(row["labels"][k])], "difficult": [False], "crop": crop}
    if "source_image_id" in row:
        own["source_image_id"] = f"{row['source_image_id']}_{k}"
    if "visibility" in row:
        own |= {"visibility": [float(row["visibility"][k])],
                "kept": bool(row["kept"]) and float(row["visibility"][k]) >= min_visibility}
    return {**row, **own}
