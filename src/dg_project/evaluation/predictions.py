"""The predictions table: one row per image, as it is written and as it comes back from parquet."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray


def as_boxes(value: Any) -> NDArray[np.float64]:
    """Return boxes of shape (n, 4) from lists, arrays, or the arrays of arrays that parquet gives back."""
    return np.asarray([list(box) for box in value], dtype=np.float64).reshape(-1, 4)


def as_vector(value: Any, dtype: type = np.float64) -> NDArray[Any]:
    """Return a vector of shape (n,) from a list or array."""
    return np.asarray(list(value), dtype=dtype).reshape(-1)


def rows_by_image(truth: pd.DataFrame, found: pd.DataFrame) -> Iterator[tuple[Any, Any]]:
    """Yield the label row and the prediction row of each image of one domain, in the order of the sorted ids."""
    predicted = {str(row.image_id): row for row in found.itertuples()}
    for row in sorted(truth.itertuples(), key=lambda row: str(row.image_id)):
        yield row, predicted[str(row.image_id)]


def by_method(predictions: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Split a table that holds several models (column ``method``) into one table per method, in order of appearance."""
    return {str(name): rows.drop(columns="method").reset_index(drop=True)
            for name, rows in predictions.groupby("method", sort=False)}
