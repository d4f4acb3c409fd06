"""Errors that a user can mend are one clear message; all others keep their traceback."""

from __future__ import annotations

import errno
import sys

import pytest

from dg_project.core.errors import DataError
from dg_project.hooks.console import ConsoleHook, mendable


def wrapped() -> Exception:
    try:
        try:
            raise DataError("the box is outside")
        except DataError as inner:
            raise RuntimeError("Failed while loading") from inner
    except RuntimeError as outer:
        return outer


def test_the_cause_is_found_below_what_wraps_it() -> None:
    assert str(mendable(wrapped())) == "the box is outside"
    assert mendable(ValueError("a bug")) is None
    assert mendable(OSError(errno.ENOSPC, "the disk is full")) is not None
    assert mendable(OSError(errno.ENOENT, "a bug")) is None


def test_the_terminal_shows_the_message_alone(monkeypatch: pytest.MonkeyPatch,
                                              capsys: pytest.CaptureFixture[str]) -> None:
    usual = []
    monkeypatch.setattr(sys, "excepthook", lambda *details: usual.append(details))
    ConsoleHook().after_context_created(context=None)
    error = wrapped()
    sys.excepthook(type(error), error, None)
    assert capsys.readouterr().err == "\nDataError: the box is outside\n"
    sys.excepthook(ValueError, ValueError("a bug"), None)
    assert len(usual) == 1
