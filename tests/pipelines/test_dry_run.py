"""A dry run prints the plan of a run, finds what stands in its way, and leaves nothing behind."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from dg_project.errors import DGError
from dg_project.parameters import BackboneParams, LDMParams
from dg_project.rehearsal.synthesis import passes
from dg_project.rehearsal.weights import backbone_weights, diffusion_weights


def files(root: Path) -> set[Path]:
    return {path for path in root.rglob("*") if path.is_file() and ".viz" not in path.parts}


def test_the_plan_counts_times_and_writes_nothing(project: Any, capsys: pytest.CaptureFixture[str]) -> None:
    before = files(project.root)
    with pytest.raises(SystemExit) as end:
        project.run("drsf", dry_run=True, data={"expected_counts": {"daytime_clear/train": 8}})
    assert end.value.code == 0
    plan = " ".join(capsys.readouterr().out.split())
    for line in ("daytime_clear/train: 8 images, as expected", "daytime_foggy/test: 4 images",
                 "at most 32 images in 4 domains, 64 passes of the U-Net", "erm: 6 steps of 4 images",
                 "drsf: 6 steps of 4 images", "scoring 15 test images", "weights, gradients, optimiser", "free in"):
        assert line in plan, line
    assert files(project.root) == before
    client = project.mlflow()
    assert client.get_experiment_by_name("smoke") is None


def test_a_dry_run_names_every_problem_at_once(project: Any) -> None:
    (project.root / "data/01_raw/streets/night_clear/VOC2007/JPEGImages/test_000.jpg").write_bytes(b"no image")
    with pytest.raises(DGError, match=r"3 problem") as found:
        project.run("erm", dry_run=True, detection={"fpn_stages": [9]},
                    data={"expected_counts": {"dusk_rainy/test": 5}})
    for part in ("test_000.jpg: it is truncated", "dusk_rainy/test", "a step of 'erm' failed: detection.fpn_stages"):
        assert part in str(found.value), part


def test_where_weights_come_from_is_said_without_asking_anybody(tmp_path: Path) -> None:
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
def test_guidance_and_inversion_cost_passes(changes: dict[str, Any], expected: int) -> None:
    assert passes(LDMParams(checkpoint="x", steps=50, **changes), 25) == expected
