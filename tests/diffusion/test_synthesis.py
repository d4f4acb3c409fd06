"""Synthesis: labels kept, resumable image by image, killed without a truncated file, independent of the batch size."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from dg_project.diffusion.generator import Generator
from dg_project.diffusion.synthesis import image_seed, synthesise
from dg_project.domains.manifest import PSEUDO_COLUMNS, validate_manifest
from dg_project.errors import DataError
from dg_project.files import file_hash, folder_hash
from dg_project.parameters import LDMParams, PseudoDomain

DOMAINS = {
    "fog": PseudoDomain(prompt="a {foggy|misty} street"),
    "night": PseudoDomain(prompt="a dark street", strength=0.5),
}


@pytest.fixture
def source(tmp_path: Path) -> tuple[pd.DataFrame, Path]:
    root, rows = tmp_path / "source", []
    root.mkdir()
    for i in range(3):
        Image.fromarray(np.random.default_rng(i).integers(0, 255, (24, 40, 3), dtype=np.uint8)).save(root / f"{i}.png")
        rows.append(
            {
                "image_id": f"s{i}",
                "domain": "day",
                "role": "source",
                "split": "train",
                "image": f"{i}.png",
                "width": 40,
                "height": 24,
                "boxes": [[2.0, 3.0, 12.0, 15.0]],
                "labels": [1],
                "difficult": [False],
                "mask": "",
                "sha256": file_hash(root / f"{i}.png"),
            }
        )
    return pd.DataFrame(rows), root


def run(
    source: tuple[pd.DataFrame, Path], checkpoint: Path, workspace: Path, batch_size: int = 4, **changes: object
) -> pd.DataFrame:
    ldm = LDMParams(checkpoint=str(checkpoint), steps=2, batch_size=batch_size, **changes)
    return synthesise(*source, DOMAINS, ldm, 2, 0, Generator.open(checkpoint), workspace)


def test_manifest_keeps_labels_and_records_how_each_image_was_made(source, tiny_ldm: Path, tmp_path: Path) -> None:
    made = validate_manifest(run(source, tiny_ldm, tmp_path / "w"), ["car"])
    assert len(made) == 3 * 2 * 2
    assert set(made.role) == {"pseudo"}
    assert set(PSEUDO_COLUMNS) <= set(made.columns)
    assert made.boxes.map(lambda b: b == [[2.0, 3.0, 12.0, 15.0]]).all()
    assert set(made[made.domain == "fog"].prompt) <= {"a foggy street", "a misty street"}
    assert made.seed.is_unique
    assert set(made.model) == {Generator.open(tiny_ldm).fingerprint}
    for row in made.itertuples():
        with Image.open(tmp_path / "w" / row.image) as image:
            assert image.size == (40, 24)
        assert row.image == f"{row.domain}/{row.source_image_id}_{row.candidate}.png"
        assert file_hash(tmp_path / "w" / row.image) == row.sha256


def test_batch_size_changes_nothing_on_disk(source, tiny_ldm: Path, tmp_path: Path) -> None:
    frames = [run(source, tiny_ldm, tmp_path / str(size), size) for size in (1, 4)]
    pd.testing.assert_frame_equal(*frames)
    assert folder_hash(tmp_path / "1") == folder_hash(tmp_path / "4")


def test_resumes_image_by_image_and_equals_an_uninterrupted_run(
    source, tiny_ldm: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(source, tiny_ldm, tmp_path / "whole")
    whole = folder_hash(tmp_path / "whole")
    generate, calls = Generator.generate, []

    def failing(self: Generator, images: list, *args: object, **kwargs: object) -> list:
        if len(calls) == 5:
            raise KeyboardInterrupt
        calls.append(len(images))
        return generate(self, images, *args, **kwargs)

    monkeypatch.setattr(Generator, "generate", failing)
    with pytest.raises(KeyboardInterrupt):
        run(source, tiny_ldm, tmp_path / "parts", 1)
    monkeypatch.setattr(Generator, "generate", generate)
    before = {p: p.stat().st_mtime_ns for p in (tmp_path / "parts").rglob("*.png")}
    assert len(before) == 5
    run(source, tiny_ldm, tmp_path / "parts", 1)
    assert folder_hash(tmp_path / "parts") == whole
    assert all(path.stat().st_mtime_ns == stamp for path, stamp in before.items()), "finished images were made again"


def test_a_damaged_image_or_other_parameters_are_made_again(source, tiny_ldm: Path, tmp_path: Path) -> None:
    first = run(source, tiny_ldm, tmp_path / "w")
    whole = folder_hash(tmp_path / "w")
    victim = tmp_path / "w" / first.image[0]
    victim.write_bytes(victim.read_bytes()[:50])
    run(source, tiny_ldm, tmp_path / "w")
    assert folder_hash(tmp_path / "w") == whole
    other = run(source, tiny_ldm, tmp_path / "w", guidance_scale=5.0)
    assert set(other.guidance_scale) == {5.0}
    assert (other.sha256 != first.sha256).all()


def test_the_seed_names_the_image() -> None:
    assert image_seed(0, "fog", "a", 0) == image_seed(0, "fog", "a", 0) < 2**48
    seeds = {image_seed(s, d, i, c) for s in (0, 1) for d in ("fog", "rain") for i in ("a", "b") for c in (0, 1)}
    assert len(seeds) == 16


def test_a_missing_source_image_is_named(source, tiny_ldm: Path, tmp_path: Path) -> None:
    (source[1] / "1.png").unlink()
    with pytest.raises(DataError, match=r"1\.png"):
        run(source, tiny_ldm, tmp_path / "w")


KILLED = """
import sys
import numpy as np, pandas as pd
from pathlib import Path
from PIL import Image
from dg_project.diffusion.synthesis import synthesise
from dg_project.parameters import LDMParams, PseudoDomain

class Noise:
    fingerprint = "noise"
    def generate(self, images, prompts, seeds, **options):
        draws = [np.random.default_rng(s).integers(0, 255, (300, 400, 3), dtype=np.uint8) for s in seeds]
        return [Image.fromarray(draw) for draw in draws]

root, workspace = map(Path, sys.argv[1:])
manifest = pd.read_json(root / "manifest.json", dtype={"sha256": str})
ldm = LDMParams(checkpoint="none", mode="img2img", steps=2, batch_size=2)
synthesise(manifest, root, {"fog": PseudoDomain(prompt="fog")}, ldm, 2000, 0, Noise(), workspace)
"""


def test_sigkill_leaves_no_truncated_file(source, tmp_path: Path) -> None:
    manifest, root = source
    manifest.to_json(root / "manifest.json")
    workspace = tmp_path / "w"
    process = subprocess.Popen([sys.executable, "-c", KILLED, str(root), str(workspace)], stderr=subprocess.DEVNULL)
    while len(list(workspace.glob("fog/*.json"))) < 3 and process.poll() is None:
        time.sleep(0.02)
    assert process.poll() is None, "it ended by itself"
    process.send_signal(signal.SIGKILL)
    process.wait()
    for path in workspace.glob("fog/[!.]*.png"):
        with Image.open(path) as image:
            image.load()
    for path in workspace.glob("fog/[!.]*.json"):
        assert json.loads(path.read_text())["sha256"] == file_hash(path.with_suffix(".png"))
