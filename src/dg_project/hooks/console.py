"""What a person sees in the terminal: log lines above progress bars, errors as one clear message."""

from __future__ import annotations

import errno
import logging
import sys
from types import TracebackType
from typing import Any

from kedro.framework.hooks import hook_impl

from dg_project.core.errors import DGError

_WIDTH = 160


class ConsoleHook:
    """Tidies the terminal; changes nothing in notebooks, where there is no log handler of Kedro's."""

    @hook_impl(tryfirst=True)
    def after_context_created(self, context: Any) -> None:
        """Keep progress bars whole and show errors that a user can mend without a traceback."""
        for handler in logging.getLogger().handlers:
            _write_above_bars(handler)
            _widen(handler)
        if not getattr(sys.excepthook, "_dg_project", False):
            sys.excepthook = _quiet(sys.excepthook)


def _write_above_bars(handler: logging.Handler) -> None:
    if isinstance(handler, logging.FileHandler) or getattr(handler, "_above_bars", False):
        return
    emit = handler.emit

    def emit_above(record: logging.LogRecord) -> None:
        from tqdm import tqdm

        with tqdm.external_write_mode(file=sys.stdout):
            emit(record)

    handler.emit = emit_above  # type: ignore[method-assign]
    handler._above_bars = True  # type: ignore[attr-defined]


def _widen(handler: logging.Handler) -> None:
    """A log that is no terminal (a file, CI) has no width; rich would break its tables at 80 columns."""
    console = getattr(handler, "console", None)
    if console is not None and not console.is_terminal:
        console.width = _WIDTH


def mendable(error: BaseException | None) -> BaseException | None:
    """Return the error that a user can mend in the chain of causes (Kedro wraps those of datasets), if there is one."""
    while error is not None:
        full = isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)
        misnamed = isinstance(error, ValueError) and str(error).startswith("Failed to find the pipeline named")
        if isinstance(error, DGError) or full or misnamed:
            return error
        error = error.__cause__ or error.__context__
    return None


def _quiet(usual: Any) -> Any:
    def excepthook(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        known = mendable(error)
        if known is None:
            usual(kind, error, trace)
        else:
            print(f"\n{type(known).__name__}: {known}", file=sys.stderr)  # noqa: T201

    excepthook._dg_project = True  # type: ignore[attr-defined]
    return excepthook
