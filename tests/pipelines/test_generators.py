"""Whole runs without a diffusion model: nothing of ``ldm`` is opened, and all else works as with its images."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from dg_project.core.errors import DataError, ParameterError

REMOVED: dict[str, Any] = dict.fromkeys(["fog", "dusk_rain", "night", "night_rain"])
CORRUPTIONS = {"generator": "corruptions", "domains": {
    **REMOVED, "light": {"corruptions": ["gamma", "darkness"], "severity": [0.2, 0.6]},
    "haze": {"corruptions": ["fog"], "severity": 0.5}}}
STEPS = {"max_steps": 2, "validate_every": 2, "checkpoint_every": 2}


@pytest.fixture
def without_ldm(project: Any) -> Any:
    """The project without its diffusion model."""
    shutil.rmtree(project.root / "data/06_models/tiny_ldm")
    return project


def by_style(folder: str) -> dict[str, Any]:
    return {"generator": "fourier", "domains": {**REMOVED, "art": {"style": folder}}}


def test_corruptions_train_and_resume(without_ldm: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from dg_project.pseudo.generators.corruptions import CorruptionGenerator

    project, paint, painted = without_ldm, CorruptionGenerator.paint, []
    monkeypatch.setattr(CorruptionGenerator, "paint", lambda self, jobs, sources: painted.extend(jobs)
                        or paint(self, jobs, sources))
    names = ("ingestion", "synthesis", "sampling", "training")
    version = project.run(*names, method="naive", synthesis=CORRUPTIONS, training=STEPS)
    assert len(painted) == 2 * 4 * 2  # domains x images x candidates of smoke
    manifest, folder = project.load("pseudo_manifest", version), project.load("pseudo_images", version)
    assert manifest["domain"].value_counts().to_dict() == {"light": 4, "haze": 4}
    assert set(manifest["model"]) == {"corruptions"}
    assert manifest["visibility"].map(len).gt(0).all()
    assert all((folder / image).is_file() for image in manifest["image"])
    assert (project.load("model", version) / "model.json").is_file()
    assert project.run("synthesis", synthesis=CORRUPTIONS)
    assert len(painted) == 2 * 4 * 2, "images of the same inputs are not made again"


def test_dry_run_opens_no_diffusion_model(without_ldm: Any, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        without_ldm.run("ingestion", "synthesis", dry_run=True, synthesis=CORRUPTIONS)
    assert end.value.code == 0
    plan = " ".join(capsys.readouterr().out.split())
    assert "at most 16 images in 2 domains, by corruptions" in plan
    assert "from one image of each domain made and written on the CPU" in plan
    assert "ldm." not in plan
    assert not (without_ldm.data / ".workspace").exists()


@pytest.mark.parametrize(("pipeline", "method", "message"), [
    ("closed_loop", "drsf", "the closed loop composes the prompts of a diffusion model, and synthesis.generator is"),
    ("domainfusion", "drsf", "the method 'domainfusion' paints the prompts of synthesis.domains while it trains"),
])
def test_what_needs_prompts_is_refused(without_ldm: Any, pipeline: str, method: str, message: str) -> None:
    without_ldm.run("ingestion")
    with pytest.raises(ParameterError, match=message) as error:
        without_ldm.run(pipeline, method=method, synthesis=CORRUPTIONS)
    assert len(str(error.value).splitlines()) == 1
    assert not list((without_ldm.root / "data").rglob("*_0.png"))


def test_styles_train_no_target(without_ldm: Any) -> None:
    project = without_ldm
    streets = project.root / "data/01_raw/streets"
    for folder in (streets, streets / "night_clear/VOC2007"):
        with pytest.raises(DataError, match=r"shares images with .*night_clear', the folder of a target domain"):
            project.run("ingestion", "synthesis", synthesis=by_style(str(folder)))
    styles = Path(shutil.copytree(streets / "dusk_rainy/VOC2007/JPEGImages", project.root / "styles"))
    version = project.run("ingestion", "synthesis", "sampling", synthesis=by_style("styles"))
    manifest = project.load("pseudo_manifest", version)
    assert len(manifest) == 4
    assert {path.name for path in styles.iterdir()} > set(manifest["prompt"])
    assert set(manifest["model"]) == {"fourier"}
