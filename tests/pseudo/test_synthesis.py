"""Synthesis: labels kept, resumable by image, no truncated files, independent of the batch size."""

from __future__ import annotations

import gc
import json
import signal
import time
import tracemalloc
from pathlib import Path
from typing import Any

import forked
import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from dg_project.config import LDMParams, PseudoDomain
from dg_project.core.errors import DataError
from dg_project.core.files import file_hash
from dg_project.data.manifest import PSEUDO_COLUMNS, validate_manifest
from dg_project.diffusion.generator import Generator
from dg_project.pseudo.generators.diffusion import DiffusionGenerator
from dg_project.pseudo.synthesis import image_seed, synthesise

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
                "mask": f"masks/{i}.png",
                "mask_ids": "cityscapes_ids",
                "instances": f"instances/{i}.png",
                "instance_ids": [24001],
                "labels_sha256": str(i),
                "sha256": file_hash(root / f"{i}.png"),
            }
        )
    return pd.DataFrame(rows), root


def run(
    source: tuple[pd.DataFrame, Path], checkpoint: Path, workspace: Path, batch_size: int = 4, **changes: object
) -> pd.DataFrame:
    ldm = LDMParams(checkpoint=str(checkpoint), steps=2, batch_size=batch_size, **changes)
    generator = DiffusionGenerator(Generator.open(checkpoint), ldm, source[1])
    return synthesise(*source, DOMAINS, generator, 2, 0, workspace)


def test_manifest_labels_and_provenance(source, tiny_ldm: Path, tmp_path: Path) -> None:
    made = validate_manifest(run(source, tiny_ldm, tmp_path / "w"), ["car"])
    assert len(made) == 3 * 2 * 2
    assert set(made.role) == {"pseudo"}
    assert set(PSEUDO_COLUMNS) <= set(made.columns)
    assert made.boxes.map(lambda b: b == [[2.0, 3.0, 12.0, 15.0]]).all()
    masks = ["mask", "mask_ids", "instances", "instance_ids", "labels_sha256"]
    for _, row in made.iterrows():
        origin = source[0].set_index("image_id").loc[row["source_image_id"]]
        assert row[masks].tolist() == origin[masks].tolist()
    assert set(made[made.domain == "fog"].prompt) <= {"a foggy street", "a misty street"}
    assert made.seed.is_unique
    assert set(made.model) == {Generator.open(tiny_ldm).fingerprint}
    for row in made.itertuples():
        with Image.open(tmp_path / "w" / row.image) as image:
            assert image.size == (40, 24)
        assert row.image == f"{row.domain}/{row.source_image_id}_{row.candidate}.png"
        assert file_hash(tmp_path / "w" / row.image) == row.sha256


def images_and_cards(folder: Path) -> dict[str, object]:
    """Everything in a workspace but the time that an image took."""
    cards = {path: json.loads(path.read_text()) for path in folder.rglob("*.json")}
    found = {str(path.relative_to(folder)): {**card, "ldm_seconds": 0} for path, card in cards.items()}
    return found | {str(path.relative_to(folder)): file_hash(path) for path in folder.rglob("*.png")}


def test_batch_size_does_not_change_files(source, tiny_ldm: Path, tmp_path: Path) -> None:
    frames = [run(source, tiny_ldm, tmp_path / str(size), size) for size in (1, 4)]
    pd.testing.assert_frame_equal(*(frame.drop(columns="ldm_seconds") for frame in frames))
    assert images_and_cards(tmp_path / "1") == images_and_cards(tmp_path / "4")


def test_resume_equals_uninterrupted_run(
    source, tiny_ldm: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(source, tiny_ldm, tmp_path / "whole")
    whole = images_and_cards(tmp_path / "whole")
    generate, calls = Generator.generate, []

    def failing(self: Generator, images: list, *args: object, **kwargs: object) -> list:
        if len(calls) == 3:
            raise KeyboardInterrupt
        calls.append(len(images))
        return generate(self, images, *args, **kwargs)

    monkeypatch.setattr(Generator, "generate", failing)
    with pytest.raises(KeyboardInterrupt):
        run(source, tiny_ldm, tmp_path / "parts", 1)
    monkeypatch.setattr(Generator, "generate", generate)
    before = {p: p.stat().st_mtime_ns for p in (tmp_path / "parts").rglob("*.png")}
    assert len(before) == 6, "one source and a half: domains of two strengths, two candidates each"
    run(source, tiny_ldm, tmp_path / "parts", 1)
    assert images_and_cards(tmp_path / "parts") == whole
    assert all(path.stat().st_mtime_ns == stamp for path, stamp in before.items()), "finished images were made again"


def test_image_of_a_group_is_remade_alone_bit_equal(source, tiny_ldm: Path, tmp_path: Path) -> None:
    first = run(source, tiny_ldm, tmp_path / "w")
    whole = images_and_cards(tmp_path / "w")
    victim = tmp_path / "w" / first.image[1]
    victim.unlink()
    others = {p: p.stat().st_mtime_ns for p in (tmp_path / "w").rglob("*.png")}
    run(source, tiny_ldm, tmp_path / "w")
    assert images_and_cards(tmp_path / "w") == whole
    assert all(path.stat().st_mtime_ns == stamp for path, stamp in others.items()), "only the missing one is written"


def test_group_depends_on_its_source_alone(source, tiny_ldm: Path, tmp_path: Path) -> None:
    run(source, tiny_ldm, tmp_path / "all")
    run((source[0].iloc[[1]].reset_index(drop=True), source[1]), tiny_ldm, tmp_path / "one")
    alone, among = images_and_cards(tmp_path / "one"), images_and_cards(tmp_path / "all")
    assert len(alone) == len(among) // 3
    assert {name: among[name] for name in alone} == alone


def test_other_group_size_is_made_again_on_a_cpu(source, tiny_ldm: Path, tmp_path: Path) -> None:
    made = run(source, tiny_ldm, tmp_path / "w")
    card = (tmp_path / "w" / made.image[0]).with_suffix(".json")
    whole = images_and_cards(tmp_path / "w")
    card.write_text(json.dumps({**json.loads(card.read_text()), "images_together": 7}))
    run(source, tiny_ldm, tmp_path / "w")
    assert images_and_cards(tmp_path / "w") == whole


def test_damaged_or_changed_image_is_remade(source, tiny_ldm: Path, tmp_path: Path) -> None:
    first = run(source, tiny_ldm, tmp_path / "w")
    whole = images_and_cards(tmp_path / "w")
    victim = tmp_path / "w" / first.image[0]
    victim.write_bytes(victim.read_bytes()[:50])
    run(source, tiny_ldm, tmp_path / "w")
    assert images_and_cards(tmp_path / "w") == whole
    other = run(source, tiny_ldm, tmp_path / "w", guidance_scale=5.0)
    assert set(other.guidance_scale) == {5.0}
    assert (other.sha256 != first.sha256).all()


def test_image_seed() -> None:
    assert image_seed(0, "fog", "a", 0) == image_seed(0, "fog", "a", 0) < 2**48
    seeds = {image_seed(s, d, i, c) for s in (0, 1) for d in ("fog", "rain") for i in ("a", "b") for c in (0, 1)}
    assert len(seeds) == 16


def test_missing_source_image_error(source, tiny_ldm: Path, tmp_path: Path) -> None:
    (source[1] / "1.png").unlink()
    with pytest.raises(DataError, match=r"1\.png"):
        run(source, tiny_ldm, tmp_path / "w")


class Noise:
    """A generator that is quick; what it paints depends on nothing but the seed."""

    fingerprint, device = "noise", torch.device("cuda")

    def generate(self, images: list, prompts: list[str], seeds: list[int], **options: object) -> list[Image.Image]:
        return [Image.fromarray(np.full((24, 40, 3), seed % 256, np.uint8)) for seed in seeds]


def many(source: tuple[pd.DataFrame, Path], count: int) -> tuple[pd.DataFrame, Path]:
    """The three source images over and over, under ids of their own."""
    rows = pd.concat([source[0]] * -(-count // 3), ignore_index=True).head(count)
    return rows.assign(image_id=[f"s{i}" for i in range(count)]), source[1]


def quickly(source: tuple[pd.DataFrame, Path], workspace: Path, **options: object) -> pd.DataFrame:
    ldm = LDMParams(checkpoint="none", mode="img2img", steps=2, batch_size=3)
    return synthesise(*source, DOMAINS, DiffusionGenerator(Noise(), ldm, source[1]), 2, 0, workspace, **options)


def test_shards_share_one_workspace(source, tmp_path: Path) -> None:
    images = many(source, 7)
    parts = [quickly(images, tmp_path / "shared", shard=f"{i}/3") for i in (1, 2, 3)]
    made = {p: p.stat().st_mtime_ns for p in (tmp_path / "shared").rglob("*.png")}
    gathered = quickly(images, tmp_path / "shared")
    assert {p: p.stat().st_mtime_ns for p in (tmp_path / "shared").rglob("*.png")} == made
    alone = quickly(images, tmp_path / "alone")
    pd.testing.assert_frame_equal(gathered.drop(columns="ldm_seconds"), alone.drop(columns="ldm_seconds"))
    assert images_and_cards(tmp_path / "shared") == images_and_cards(tmp_path / "alone")
    joined = pd.concat(parts).sort_values("image").reset_index(drop=True)
    pd.testing.assert_frame_equal(joined, gathered.sort_values("image").reset_index(drop=True))


def test_batches_stay_full_on_resume(
    source, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images, sizes = many(source, 9), []
    quickly(images, tmp_path / "w", shard="1/3")
    generate = Noise.generate
    monkeypatch.setattr(Noise, "generate", lambda self, given, *args, **options: sizes.append(len(given))
                        or generate(self, given, *args, **options))
    quickly(images, tmp_path / "w")
    assert sizes == [3, 3, 3, 3, 3, 3, 3, 3], "six sources, two candidates, two domains, three at a time"


def test_memory_independent_of_job_count(source, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dg_project.pseudo.synthesis.CHUNK", 32)
    quickly(many(source, 3), tmp_path / "warm")

    def overhead(count: int, attempt: int) -> int:
        images = many(source, count)
        gc.collect()
        tracemalloc.start()
        kept = quickly(images, tmp_path / f"{count}-{attempt}")
        current, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert len(kept) == 4 * count
        return peak - 2 * current  # joining the chunks holds the manifest twice

    # Other threads of the process are traced too, those of MLflow for example: one quiet attempt of three is enough.
    assert any(overhead(100, attempt) < overhead(10, attempt) + 50_000 for attempt in range(3))


def test_inpaint_boxes_in_call_and_card(source, tiny_img2img: Path, tmp_path: Path) -> None:
    ldm = LDMParams(checkpoint=str(tiny_img2img), steps=2, mode="inpaint", inpaint={"box_strength": 0})
    generator = DiffusionGenerator(Generator.from_params(ldm), ldm, source[1])
    made = synthesise(*source, {"fog": DOMAINS["fog"]}, generator, 1, 0, tmp_path / "w")
    for row in made.itertuples():
        old, new = (np.asarray(Image.open(path)) for path in (source[1] / f"{row.source_image_id[1:]}.png",
                                                              tmp_path / "w" / row.image))
        assert np.array_equal(old[3:15, 2:12], new[3:15, 2:12])
        assert not np.array_equal(old, new)
    card = json.loads((tmp_path / "w" / made.image[0]).with_suffix(".json").read_text())
    assert card["mode"] == "inpaint"
    assert card["boxes"] == [[2.0, 3.0, 12.0, 15.0]]
    assert card["inpaint"] == {"box_strength": 0.0}
    assert set(card["made_with"]) == {"torch", "diffusers"}


def test_v_prediction_checkpoint(source, tiny_v_prediction: Path, tmp_path: Path) -> None:
    made = validate_manifest(run(source, tiny_v_prediction, tmp_path / "w"), ["car"])
    assert len(made) == 3 * 2 * 2
    for row in made.itertuples():
        assert json.loads((tmp_path / "w" / row.image).with_suffix(".json").read_text())["mode"] == "img2img"
        with Image.open(tmp_path / "w" / row.image) as image:
            assert image.size == (40, 24)
    assert made.sha256.is_unique


def test_segmentation_controlnet_masks(
    source, tiny_img2img: Path, tiny_controlnet: Path, tmp_path: Path
) -> None:
    manifest, root = source
    beside = {"checkpoint": str(tiny_controlnet), "condition": "segmentation"}
    ldm = LDMParams(checkpoint=str(tiny_img2img), steps=2, mode="controlnet", controlnet=beside)
    generator = DiffusionGenerator(Generator.from_params(ldm), ldm, root)

    def made(rows: pd.DataFrame) -> pd.DataFrame:
        return synthesise(rows, root, {"fog": DOMAINS["fog"]}, generator, 1, 0, tmp_path / "w")

    with pytest.raises(DataError, match=r"the source image '0.png' has no semantic mask"):
        made(manifest)
    Image.fromarray(np.full((24, 40), 10, np.uint8)).save(root / "sky.png")
    Image.fromarray(np.full((24, 40), 0, np.uint8)).save(root / "road.png")
    sky, road = (made(manifest.assign(mask=mask, mask_ids="train_ids")) for mask in ("sky.png", "road.png"))
    assert (sky.sha256 != road.sha256).all()
    assert (sky["mask"] == "sky.png").all()


def test_card_resolves_auto(source, tiny_ldm: Path, tmp_path: Path) -> None:
    made = run(source, tiny_ldm, tmp_path / "w")
    assert json.loads((tmp_path / "w" / made.image[0]).with_suffix(".json").read_text())["mode"] == "instruct"


class QuickDiffusion:
    """Stands for a diffusion model that needs no time."""

    fingerprint, device = "noise", torch.device("cpu")

    def generate(self, images: list[Image.Image], prompts: list[str], seeds: list[int],
                 **_: Any) -> list[Image.Image]:
        draws = [np.random.default_rng(seed).integers(0, 255, (300, 400, 3), dtype=np.uint8) for seed in seeds]
        return [Image.fromarray(draw) for draw in draws]


def synthesise_noise(manifest: pd.DataFrame, root: Path, workspace: Path) -> None:
    ldm = LDMParams(checkpoint="none", mode="img2img", steps=2, batch_size=2)
    painter = DiffusionGenerator(QuickDiffusion(), ldm, root)  # type: ignore[arg-type]
    synthesise(manifest, root, {"fog": PseudoDomain(prompt="fog")}, painter, 2000, 0, workspace)


def test_sigkill_leaves_no_truncated_file(source, tmp_path: Path) -> None:
    workspace = tmp_path / "w"
    process = forked.start(synthesise_noise, *source, workspace)
    while len(list(workspace.glob("fog/*.json"))) < 3 and process.is_alive():
        time.sleep(0.02)
    assert process.is_alive(), "it ended by itself"
    process.kill()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    for path in workspace.glob("fog/[!.]*.png"):
        with Image.open(path) as image:
            image.load()
    for path in workspace.glob("fog/[!.]*.json"):
        assert json.loads(path.read_text())["sha256"] == file_hash(path.with_suffix(".png"))
