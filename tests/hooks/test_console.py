"""Errors that a user can fix are one message; all others keep their traceback."""

from __future__ import annotations

import errno
import sys

import pytest

from dg_project.core.errors import DataError
from dg_project.hooks.console import ConsoleHook, fixable


def wrapped() -> Exception:
    try:
        try:
            raise DataError("the box is outside")
        except DataError as inner:
            raise RuntimeError("Failed while loading") from inner
    except RuntimeError as outer:
        return outer


def test_fixable_error_below_its_wrapper() -> None:
    assert str(fixable(wrapped())) == "the box is outside"
    assert fixable(ValueError("a bug")) is None
    assert fixable(OSError(errno.ENOSPC, "the disk is full")) is not None
    assert fixable(OSError(errno.ENOENT, "a bug")) is None


def test_excepthook_shows_the_message(monkeypatch: pytest.MonkeyPatch,
                                              capsys: pytest.CaptureFixture[str]) -> None:
    usual = []
    monkeypatch.setattr(sys, "excepthook", lambda *details: usual.append(details))
    ConsoleHook().after_context_created(context=None)
    error = wrapped()
    sys.excepthook(type(error), error, None)
    assert capsys.readouterr().err == "\nDataError: the box is outside\n"
    sys.excepthook(ValueError, ValueError("a bug"), None)
    assert len(usual) == 1
