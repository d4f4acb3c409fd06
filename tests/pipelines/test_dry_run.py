"""A dry run prints the plan of a run, finds what stands in its way, and leaves nothing behind."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from folders_fixture import build_folders
from run_settings import settings

from dg_project.config import BackboneParams, LDMParams
from dg_project.core.errors import DGError, ParameterError
from dg_project.data.manifest import select
from dg_project.dry_run import plan as plan_module
from dg_project.dry_run.plan import RunPlan, describe_training, plan_folds
from dg_project.dry_run.timing import passes, time_training
from dg_project.dry_run.weights import backbone_weights, diffusion_weights, method_weights
from dg_project.pipelines.sums import create_sums
from dg_project.pipelines.trainings import trainings


def files(root: Path) -> set[Path]:
    return {path for path in root.rglob("*") if path.is_file() and ".viz" not in path.parts}


def test_dry_run_plan_writes_nothing(project: Any, capsys: pytest.CaptureFixture[str]) -> None:
    before = files(project.root)
    with pytest.raises(SystemExit) as end:
        project.run("drsf", dry_run=True, data={"expected_counts": {"daytime_clear/train": 8}})
    assert end.value.code == 0
    plan = " ".join(capsys.readouterr().out.split())
    for line in ("daytime_clear/train: 8 images, as expected", "daytime_foggy/test: 4 images",
                 "at most 32 images in 4 domains, 64 passes of the U-Net", "erm: 6 steps of 4 images",
                 "drsf: 6 steps of 4 images", "scoring 15 test images", "weights, gradients, optimiser", "free in",
                 "total about "):
        assert line in plan, line
    assert files(project.root) == before
    client = project.mlflow()
    assert client.get_experiment_by_name("smoke") is None


def test_dry_run_lists_all_problems(project: Any) -> None:
    (project.root / "data/01_raw/streets/night_clear/VOC2007/JPEGImages/test_000.jpg").write_bytes(b"no image")
    with pytest.raises(DGError, match=r"3 problem") as found:
        project.run("erm", dry_run=True, detection={"fpn_stages": [9]},
                    data={"expected_counts": {"dusk_rainy/test": 5}})
    for part in ("test_000.jpg: it is truncated", "dusk_rainy/test", "a step of 'erm' failed: detection.fpn_stages"):
        assert part in str(found.value), part


def test_dry_run_leave_one_out(project: Any, clip: Path, capsys: pytest.CaptureFixture[str]) -> None:
    build_folders(project.root / "data/01_raw/animals", 5)
    before = files(project.root)
    with pytest.raises(SystemExit) as end:
        project.run("leave_one_out", dry_run=True, data={"root": "data/01_raw/animals"},
                    scmd={"teacher": str(clip), "embedding_size": 8}, classification={"image_size": [32, 32]},
                    leave_one_out={"seeds": [0, 4], "images_per_domain": 2, "methods": ["scmd", "domainfusion"]})
    assert end.value.code == 0
    plan = " ".join(capsys.readouterr().out.split())
    for line in ("art: 10 images", "sketch: 10 images", "2 classes: cat, dog",
                 "without art: 16 images of photo, sketch train, 4 validate; 10 unseen ones are scored",
                 "without sketch: 16 images of art, photo train",
                 "3 folds x seeds 0, 4 x erm, scmd, domainfusion: 18 trainings of 6 steps",
                 *(f"{name} x 6: 6 steps of 4 images" for name in ("erm", "scmd", "domainfusion")),
                 f"scmd.teacher: {clip}", "ldm.checkpoint: ", "generates with the diffusion model are not counted",
                 "scoring 14 test images", "free in"):
        assert line in plan, line
    assert files(project.root) == before
    assert project.mlflow().get_experiment_by_name("smoke") is None


def test_dry_run_leave_one_out_problems(project: Any) -> None:
    root = build_folders(project.root / "data/01_raw/animals", 5)
    (root / "art/cat/0.png").write_bytes(b"no image")
    (root / "photo/cow").mkdir()
    with pytest.raises(DGError, match="2 problem") as found:
        project.run("leave_one_out", dry_run=True, method="erm", data={"root": "data/01_raw/animals"},
                    leave_one_out={"classes": "cat+dog"})
    for part in ("0.png: it is truncated", "the classes 'cow' are not in data.classes"):
        assert part in str(found.value), part
    with pytest.raises(DGError, match=r"1 problem.*\n.*needs 2 source domains or more"):
        project.run("leave_one_out", dry_run=True, method="erm", data={"root": "data/01_raw/animals"},
                    leave_one_out={"domains": "photo+sketch"})
    with pytest.raises(ParameterError, match="the method 'mic' does not classify"):
        project.run("leave_one_out", dry_run=True, method="mic", data={"root": "data/01_raw/animals"})


def test_plan_folds_impossible_step(tmp_path: Path) -> None:
    chosen = settings(leave_one_out__methods=["domainfusion"], leave_one_out__images_per_domain=1,
                      training__accumulate=2, training__device="cpu", classification__image_size=[64, 64])
    plan = plan_folds(chosen, build_folders(tmp_path / "animals", 2), tmp_path)
    assert [problem[:55] for problem in plan.problems] == [
        "a step of 'domainfusion' failed: training.accumulate: 2"]


def test_missing_teacher_is_not_fetched(tmp_path: Path,
                                                                monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plan_module, "time_training", lambda *_: pytest.fail("it would open the teacher"))
    chosen = settings(training__device="cpu", scmd={"teacher": "owner/clip"})
    plan = RunPlan()
    describe_training(plan, chosen, pd.DataFrame({"split": ["train"]}), tmp_path, ["scmd"] * 3, 4, torch.device("cpu"))
    assert ("weights", "scmd.teacher: owner/clip, to be fetched from the hub") in plan.lines
    assert ("training", "scmd x 3: not timed: its weights are not on this machine yet") in plan.lines
    assert plan.problems == []
    assert method_weights("scmd", settings(scmd={"teacher": "open_clip:ViT-B-32/openai"}))["scmd.teacher"][1] is False
    assert method_weights("erm", chosen) == {}


def test_trainings_of_pipelines() -> None:
    found = {name: sorted(training.method for training in trainings(create_sums()[name], settings()))
             for name in ("drsf", "closed_loop", "scmd", "uda")}
    assert found == {"drsf": ["drsf", "erm", "naive"], "closed_loop": ["drsf", "drsf"], "scmd": ["drsf", "erm"],
                     "uda": ["drsf_uda", "mic"]}


@pytest.mark.parametrize("task", ["detection", "segmentation"])
def test_time_training_of_uda_method(tiny_manifest: pd.DataFrame, tiny_streets: Path,
                                                    task: str) -> None:
    first = select(tiny_manifest, split="train", role="source").head(4)
    assert time_training("mic", settings(task=task, training__device="cpu"), first, tiny_streets).step > 0


def test_weights_location_offline(tmp_path: Path) -> None:
    assert backbone_weights(BackboneParams(name="resnet18", weights=None)) == ("random", True)
    assert backbone_weights(BackboneParams(name="resnet101.tv_in1k", weights="hub")) == (
        "timm/resnet101.tv_in1k, to be fetched from the hub", False)
    assert not backbone_weights(BackboneParams(name="torchvision/resnet18", weights="hub"))[1]
    found = diffusion_weights(LDMParams(checkpoint=str(tmp_path), loras="owner/lora"))
    assert found["ldm.checkpoint"] == (str(tmp_path), True)
    assert found["ldm.loras.0"] == ("owner/lora, to be fetched from the hub", False)


@pytest.mark.parametrize(("changes", "expected"), [
    ({"guidance_scale": 1.0}, 25), ({"guidance_scale": 7.5}, 50), ({"guidance_scale": 7.5, "mode": "instruct"}, 75),
    ({"guidance_scale": 7.5, "mode": "inversion"}, 75)])
def test_passes_of_guidance_and_inversion(changes: dict[str, Any], expected: int) -> None:
    assert passes(LDMParams(checkpoint="x", steps=50, **changes), 25) == expected
