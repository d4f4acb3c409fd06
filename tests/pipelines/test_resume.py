"""Interrupted work resumes where it stopped and gives the same result."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from dg_project.core.files import file_hash

Run = tuple[Any, str]


class Killed(BaseException):
    """Stands for SIGKILL: nothing catches it."""


def hashes(folder: Path, pattern: str) -> dict[str, str]:
    return {path.relative_to(folder).as_posix(): file_hash(path) for path in sorted(folder.rglob(pattern))}


def test_training_resumes(drsf_run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    from dg_project.training import loop

    project, first = drsf_run
    step, inputs = loop._Run.step, dict.fromkeys(("source_manifest", "pseudo_manifest", "pseudo_images"), first)

    def killed_at_the_fifth(self: Any, number: int, batch: Any) -> Any:
        if number == 4:
            raise Killed
        return step(self, number, batch)

    with monkeypatch.context() as patch:
        patch.setattr(loop._Run, "step", killed_at_the_fifth)
        with pytest.raises(Killed):
            project.run("training", load_versions=inputs, seed=7)
    done: list[int] = []
    with monkeypatch.context() as patch:
        patch.setattr(loop._Run, "step", lambda self, number, batch: done.append(number) or step(self, number, batch))
        version = project.run("training", load_versions=inputs, seed=7)
    assert done[0] == 3  # smoke writes a checkpoint every three steps: the killed model goes on at the fourth
    whole = project.run("training", load_versions=inputs, seed=7, workspace="data/.elsewhere")
    for name in ("model", "baseline_model"):
        resumed = hashes(project.load(name, version), "*.safetensors")
        assert resumed == hashes(project.load(name, whole), "*.safetensors")
    losses, expected = (project.load("history", v).drop(columns="seconds") for v in (version, whole))
    assert losses.equals(expected)


def test_synthesis_resumes(drsf_run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    from dg_project.diffusion.generator import Generator

    project, _ = drsf_run
    generate, asked = Generator.generate, []

    def killed_at_the_third(self: Any, images: Any, *args: Any, **options: Any) -> Any:
        asked.append(len(images))
        if len(asked) == 3:
            raise Killed
        return generate(self, images, *args, **options)

    with monkeypatch.context() as patch:
        patch.setattr(Generator, "generate", killed_at_the_third)
        with pytest.raises(Killed):
            project.run("synthesis", seed=7)
    made = sum(asked[:2])
    asked.clear()
    with monkeypatch.context() as patch:
        patch.setattr(Generator, "generate", lambda self, images, *args, **options: asked.append(len(images))
                      or generate(self, images, *args, **options))
        version = project.run("synthesis", seed=7)
    assert made > 0
    assert made + sum(asked) == 4 * 4 * 2  # domains x images x candidates
    whole = project.run("synthesis", seed=7, workspace="data/.elsewhere", ldm={"batch_size": 1})
    resumed, expected = (hashes(project.load("candidate_images", v), "*.png") for v in (version, whole))
    assert resumed == expected
    assert len(resumed) == 32
