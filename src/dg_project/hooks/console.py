"""Terminal output: log lines above progress bars, expected errors as one message."""

from __future__ import annotations

import copy
import errno
import logging
import sys
from types import TracebackType
from typing import Any

from kedro.framework.hooks import hook_impl

from dg_project.core.errors import DGError, printable

_WIDTH = 160


class ConsoleHook:
    """Sets up the terminal; changes nothing in notebooks, which have no log handler of Kedro."""

    @hook_impl(tryfirst=True)
    def after_context_created(self, context: Any) -> None:
        """Write log lines above progress bars, and show errors that a user can fix without a traceback."""
        for handler in logging.getLogger().handlers:
            handler.addFilter(_escape)
            _write_above_bars(handler)
            _widen(handler)
        if not getattr(sys.excepthook, "_dg_project", False):
            sys.excepthook = _quiet(sys.excepthook)


def _escape(record: logging.LogRecord) -> bool:
    """Escape control characters of a record line by line: names of files may hold commands for terminals."""
    record.msg, record.args = "\n".join(map(printable, record.getMessage().splitlines())), ()
    return True


def _write_above_bars(handler: logging.Handler) -> None:
    """Write log lines above progress bars, and tables below their log line, where they have the whole width."""
    if isinstance(handler, logging.FileHandler) or getattr(handler, "_above_bars", False):
        return
    emit, console = handler.emit, getattr(handler, "console", None)

    def emit_above(record: logging.LogRecord) -> None:
        from tqdm import tqdm

        message, _, table = record.getMessage().partition("\n")
        with tqdm.external_write_mode(file=sys.stdout):
            if console is None or not table:
                emit(record)
            else:
                head = copy.copy(record)
                head.msg, head.args = message, ()
                emit(head)
                console.out(table, highlight=False)

    handler.emit = emit_above  # type: ignore[method-assign]
    handler._above_bars = True  # type: ignore[attr-defined]


def _widen(handler: logging.Handler) -> None:
    """Widen logs that go to a file or CI, where rich would wrap tables at 80 columns."""
    console = getattr(handler, "console", None)
    if console is not None and not console.is_terminal:
        console.width = _WIDTH


def fixable(error: BaseException | None) -> BaseException | None:
    """Return the first error in the chain of causes that a user can fix, if any; Kedro wraps errors of datasets."""
    while error is not None:
        full = isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)
        if isinstance(error, DGError) or full:
            return error
        error = error.__cause__ or error.__context__
    return None


def _quiet(usual: Any) -> Any:
    def excepthook(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        known = fixable(error)
        if known is None:
            usual(kind, error, trace)
        else:
            print(f"\n{type(known).__name__}: {known}", file=sys.stderr)  # noqa: T201

    excepthook._dg_project = True  # type: ignore[attr-defined]
    return excepthook
