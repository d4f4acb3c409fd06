"""What a model says that it has seen."""

from __future__ import annotations

from pathlib import Path

import pytest

from dg_project.core.errors import CheckpointError
from dg_project.diffusion.origin import FILE, Origin


def test_origin_round_trip(tmp_path: Path) -> None:
    assert Origin.read(tmp_path) is None
    origin = Origin(["photo", "sketch"], "cartoon", ["dog"], ["a {domain} of a {class}"])
    origin.write(tmp_path)
    assert Origin.read(tmp_path) == origin


@pytest.mark.parametrize("text", ["no JSON", "{}", '{"seen": ["photo"]}', "[]", '{"domains": 3, "held_out": null, '
                                  '"classes": [], "captions": []}'])
def test_broken_origin_error(tmp_path: Path, text: str) -> None:
    (tmp_path / FILE).write_text(text)
    with pytest.raises(CheckpointError, match=r"origin\.json' cannot be read .*pretrain_folder_ldm"):
        Origin.read(tmp_path)
