"""Commit and versions in records, also without git history."""

from __future__ import annotations

from pathlib import Path

import pytest

from dg_project.core import provenance


def test_commit_from_environment_without_git(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(provenance.STATED, raising=False)
    assert provenance.commit(tmp_path) == ""
    monkeypatch.setenv(provenance.STATED, "0123abc")
    assert provenance.commit(tmp_path) == "0123abc"


def test_commit_empty_variable_is_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[tuple[str, ...]] = []
    monkeypatch.setattr(provenance, "_git", lambda _, *arguments: said.append(arguments) or "answer")
    monkeypatch.setenv(provenance.STATED, "")
    assert provenance.commit(Path()) == "answer"
    assert provenance.is_dirty(Path())
    assert len(said) == 2
    monkeypatch.setenv(provenance.STATED, "0123abc")
    assert not provenance.is_dirty(Path())


def test_versions_skip_missing_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(provenance, "LIBRARIES", ("torch", "no-such-library"))
    assert provenance.versions().keys() == {"Python", "torch"}
