"""Close what is open when a run is stopped by SIGINT (Ctrl-C) or SIGTERM, before anything else happens."""

from __future__ import annotations

import atexit
import logging
import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

logger = logging.getLogger(__name__)

PATIENCE = 10.0
"""Most seconds that a stopped run waits for the tracking server."""
SIGNALS = (signal.SIGINT, signal.SIGTERM)


class OnStop:
    """Calls a function once if the process is told to stop, or ends without ``forget``.

    SIGTERM then unwinds the process as Ctrl-C does, so that temporary files are removed and locks released.

    Args:
        close: the function. It runs in its own thread: the main thread may hold a lock that it needs.
    """

    def __init__(self, close: Callable[[], None]) -> None:
        self._close: Callable[[], None] | None = close
        self._process = os.getpid()
        self._holding = False
        self._waiting: int | None = None
        self._before: dict[int, Any] = {}
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.signal(number, self._stopped) for number in SIGNALS}
        atexit.register(self._closed)

    @contextmanager
    def held(self) -> Iterator[None]:
        """Let a signal wait for the end of the block, so that what the block opens is closed; a second one does not."""
        self._holding = True
        try:
            yield
        finally:
            self._holding = False
            if self._waiting is not None:
                self._stopped(self._waiting, None)

    def forget(self) -> None:
        """Restore the handlers: the run ended by itself."""
        self._close = None
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}
        atexit.unregister(self._closed)

    def _closed(self) -> None:
        close, self._close = self._close, None
        if close is not None and os.getpid() == self._process:  # not in a forked worker
            try:
                close()
            except Exception as error:  # the run ends anyway
                logger.warning("the MLflow run could not be closed (%s)", error)

    def _stopped(self, number: int, frame: FrameType | None) -> None:
        if self._holding and self._waiting is None:
            self._waiting = number
            return
        before = self._before.get(number)
        closing = threading.Thread(target=self._closed, daemon=True)
        closing.start()
        closing.join(PATIENCE)
        if callable(before):
            before(number, frame)
        raise SystemExit(128 + number)
