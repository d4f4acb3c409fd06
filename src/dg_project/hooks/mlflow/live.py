"""Send the losses of a training while it runs."""

from __future__ import annotations

import logging
import time
from typing import Any

import pandas as pd

logger = logging.getLogger(__name__)

SECONDS = 5.0
"""Least time between two messages to the tracking server: a training waits for each."""


class LiveCurves:
    """Collects the rows of a training's history and sends them in batches.

    Args:
        client: MLflow client.
        run: run that gets the metrics.
        prefix: prefix of their names.
    """

    def __init__(self, client: Any, run: str, prefix: str) -> None:
        self._client, self.run, self._prefix = client, run, prefix
        self._waiting: list[dict[str, float]] = []
        self._sent: set[int] = set()
        self._last = time.monotonic()
        self._failed = False

    def note(self, step: int, row: dict[str, float]) -> None:
        """Take the row of a step (1-based); see ``training.loop.OnLog``. A server that fails stops no training."""
        self._waiting.append(row)
        if time.monotonic() - self._last < SECONDS or self._failed:
            return
        try:
            self._send(pd.DataFrame(self._waiting))
        except Exception as error:
            self._failed = True
            logger.warning("the curves are sent when the training ends, because the tracking server did not answer "
                           "(%s)", error)
        self._waiting, self._last = [], time.monotonic()

    def finish(self, history: pd.DataFrame) -> None:
        """Send what was not sent: the last rows, and those of an earlier process if the training was resumed."""
        self._send(history[~history["step"].isin(self._sent)])

    def _send(self, rows: pd.DataFrame) -> None:
        from dg_project.hooks.mlflow.artifacts import log_history

        log_history(self._client, self.run, self._prefix, rows)
        self._sent |= {int(step) for step in rows["step"]}
