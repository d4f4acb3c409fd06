"""The predictions table: what it holds, how it is written and how it comes back from parquet."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from dg_project.errors import DataError

PREDICTION_COLUMNS: dict[str, str] = {
    "domain": "name of the domain",
    "image_id": "unique within its domain",
    "boxes": "list of [x0, y0, x1, y1], absolute pixels of the image file",
    "labels": "list of int, 1-based index into the class list",
    "scores": "list of float, 0 to 1, same order as the boxes",
}


def as_boxes(value: Any) -> NDArray[np.float64]:
    """Return boxes of shape (n, 4) from lists, arrays, or the arrays of arrays that parquet gives back."""
    return np.asarray([list(box) for box in value], dtype=np.float64).reshape(-1, 4)


def as_vector(value: Any, dtype: type = np.float64) -> NDArray[Any]:
    """Return a vector of shape (n,) from a list or array."""
    return np.asarray(list(value), dtype=dtype).reshape(-1)


def check_predictions(predictions: pd.DataFrame) -> pd.DataFrame:
    """Return the table unchanged when its columns are there, lengths agree and numbers are finite.

    Raises:
        DataError: a column is missing, an image comes twice, lengths differ or a number is not finite.
    """
    if missing := [c for c in PREDICTION_COLUMNS if c not in predictions.columns]:
        raise DataError(f"predictions: column(s) {missing} are missing; write them again with "
                        "`kedro run --pipeline=evaluation`")
    if (twice := predictions.duplicated(["domain", "image_id"])).any():
        first = predictions.loc[twice].iloc[0]
        raise DataError(f"predictions: image '{first['image_id']}' of '{first['domain']}' comes twice; "
                        "give the rows of one model at a time")
    for domain, image_id, *lists in zip(*(predictions[name] for name in PREDICTION_COLUMNS), strict=True):
        boxes, labels, scores = as_boxes(lists[0]), as_vector(lists[1]), as_vector(lists[2])
        if not len(boxes) == len(labels) == len(scores):
            raise DataError(f"predictions: image '{image_id}' of '{domain}' has {len(boxes)} boxes, {len(labels)} "
                            f"labels and {len(scores)} scores; predict it again")
        if not (np.isfinite(boxes).all() and np.isfinite(scores).all()):
            raise DataError(f"predictions: image '{image_id}' of '{domain}' has a box or score that is not finite; "
                            "the model has diverged, train it again with a lower learning rate")
    return predictions


def by_method(predictions: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Split a table that holds several models (column ``method``) into one table per method, in order of appearance."""
    return {str(name): rows.drop(columns="method").reset_index(drop=True)
            for name, rows in predictions.groupby("method", sort=False)}
