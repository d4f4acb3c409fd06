"""Freed memory is kept, unless the user chose otherwise."""

from __future__ import annotations

import ctypes

import pytest

from dg_project.core import allocator


class Library:
    def __init__(self) -> None:
        self.options: dict[int, int] = {}

    def mallopt(self, option: int, value: int) -> int:
        self.options[option] = value
        return 1


@pytest.mark.parametrize(("environment", "expected"), [
    ({}, {-1: 2**31 - 1, -3: 2**30}), ({"MALLOC_TRIM_THRESHOLD_": "131072"}, {}), ({"GLIBC_TUNABLES": ""}, {})])
def test_freed_memory_is_kept(environment: dict[str, str], expected: dict[int, int],
                              monkeypatch: pytest.MonkeyPatch) -> None:
    for name in allocator.CHOSEN:
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    library = Library()
    monkeypatch.setattr(ctypes, "CDLL", lambda name: library)
    allocator.keep_freed_memory()
    assert library.options == expected


def test_another_c_library(monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[object] = []
    monkeypatch.setattr(ctypes, "CDLL", lambda name: opened.append(name) or object())
    allocator.keep_freed_memory()
    assert opened == [None], "it was asked, and has no mallopt"
