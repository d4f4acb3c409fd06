"""What a record says of where it was made, where the code was copied to without its history too."""

from __future__ import annotations

from pathlib import Path

import pytest

from dg_project.core import provenance


def test_the_commit_is_stated_where_the_history_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(provenance.STATED, raising=False)
    assert provenance.commit(tmp_path) == ""
    monkeypatch.setenv(provenance.STATED, "0123abc")
    assert provenance.commit(tmp_path) == "0123abc"


def test_an_empty_statement_states_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[tuple[str, ...]] = []
    monkeypatch.setattr(provenance, "_git", lambda _, *arguments: said.append(arguments) or "answer")
    monkeypatch.setenv(provenance.STATED, "")
    assert provenance.commit(Path()) == "answer"
    assert provenance.is_dirty(Path())
    assert len(said) == 2
    monkeypatch.setenv(provenance.STATED, "0123abc")
    assert not provenance.is_dirty(Path())


def test_a_library_that_is_not_installed_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(provenance, "LIBRARIES", ("torch", "no-such-library"))
    assert provenance.versions().keys() == {"Python", "torch"}
