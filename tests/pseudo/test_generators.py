"""Pseudo images without a diffusion model: deterministic, in place, resumable, and never of a target image."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from dg_project.config import CorruptionName, PseudoDomain
from dg_project.core.errors import DataError
from dg_project.core.files import file_hash
from dg_project.data.manifest import PSEUDO_COLUMNS, select, validate_manifest
from dg_project.pseudo.gate import box_visibility
from dg_project.pseudo.generators.base import ImageGenerator
from dg_project.pseudo.generators.corruptions import CHANGES, CorruptionGenerator, corrupt
from dg_project.pseudo.generators.fourier import FourierGenerator, style_images
from dg_project.pseudo.synthesis import synthesise

BY_NEIGHBOURS = {"gaussian_blur", "gaussian_noise", "jpeg", "fog", "night"}
"""Corruptions that do not change a pixel by its own colour alone."""


@pytest.fixture
def source(tiny_manifest: pd.DataFrame, tiny_streets: Path) -> tuple[pd.DataFrame, Path]:
    return select(tiny_manifest, split="train", role="source").head(3), tiny_streets


@pytest.fixture
def styles(tmp_path: Path) -> Path:
    """A folder with two style images, one of them deeper."""
    for k, name in enumerate(("warm.png", "more/cold.jpg")):
        (tmp_path / "styles" / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.random.default_rng(k).integers(0, 120, (30, 50, 3), dtype=np.uint8)).save(
            tmp_path / "styles" / name)
    return tmp_path / "styles"


def corruptions(**severities: Any) -> dict[str, PseudoDomain]:
    return {name: PseudoDomain(corruptions=[name], severity=severity) for name, severity in severities.items()}


def files(folder: Path) -> dict[str, Any]:
    """Images and cards of a workspace, but for the time that an image took."""
    cards = {path.relative_to(folder).as_posix(): {**json.loads(path.read_text()), "ldm_seconds": 0}
             for path in folder.rglob("*.json")}
    return cards | {path.relative_to(folder).as_posix(): file_hash(path) for path in folder.rglob("*.png")}


def street(size: tuple[int, int] = (48, 64)) -> torch.Tensor:
    """An image (3, H, W) with a bright box on a dark ramp."""
    image = torch.linspace(40, 110, size[1]).repeat(3, size[0], 1).to(torch.uint8)
    image[:, 12:36, 20:44] = torch.tensor([220, 160, 60], dtype=torch.uint8)[:, None, None]
    return image


def test_every_corruption_name_is_known() -> None:
    assert set(CHANGES) == set(get_args(CorruptionName))


@pytest.mark.parametrize("name", CHANGES)
def test_corruption_is_deterministic_and_grows(name: CorruptionName) -> None:
    image = street()
    assert torch.equal(corrupt(image, name, 0.0, 1), image)
    before = torch.random.get_rng_state()
    light, strong = corrupt(image, name, 0.3, 1), corrupt(image, name, 0.9, 1)
    assert torch.equal(torch.random.get_rng_state(), before), "it takes no global random number"
    assert light.shape == image.shape
    assert light.dtype == torch.uint8
    assert torch.equal(corrupt(image, name, 0.9, 1), strong)
    assert 0 < (light.float() - image).abs().mean() < (strong.float() - image).abs().mean()


@pytest.mark.parametrize("name", sorted(set(CHANGES) - BY_NEIGHBOURS))
def test_corruption_maps_colours(name: CorruptionName) -> None:
    """Equal colours stay equal wherever they are, so nothing can move."""
    image = street()
    changed = corrupt(image, name, 0.6, 3).flatten(1)
    colours, where = torch.unique(image.flatten(1), dim=1, return_inverse=True)
    for colour in range(colours.shape[1]):
        assert torch.unique(changed[:, where == colour], dim=1).shape[1] == 1


@pytest.mark.parametrize("name", sorted(BY_NEIGHBOURS))
def test_corruption_keeps_edges_in_place(name: CorruptionName) -> None:
    image, box = street(), torch.tensor([[20.0, 12.0, 44.0, 36.0]])
    changed = corrupt(image, name, 0.4, 3)
    visible = box_visibility(image / 255, changed / 255, box)
    assert visible > 0.5
    assert visible > box_visibility(image / 255, changed.roll(6, 2) / 255, box) + 0.3


@pytest.mark.parametrize("name", ["gamma", "hue", "colour_cast", "gaussian_noise", "fog", "night"])
def test_seeds_draw_different_corruptions(name: CorruptionName) -> None:
    image = street()
    assert len({corrupt(image, name, 0.5, seed).numpy().tobytes() for seed in range(8)}) > 1


def test_manifest_of_corruptions(source, tmp_path: Path) -> None:
    domains = {"light": PseudoDomain(corruptions=["gamma", "darkness"], severity=[0.2, 0.8]), **corruptions(fog=0.5)}
    made = validate_manifest(synthesise(*source, domains, CorruptionGenerator(), 4, 0, tmp_path / "w"), ["x"] * 7)
    assert set(PSEUDO_COLUMNS) <= set(made.columns)
    assert len(made) == 3 * 2 * 4
    light = made[made["domain"] == "light"]
    assert set(light["prompt"]) == {"gamma", "darkness"}
    assert light["strength"].between(0.2, 0.8).all()
    assert light["strength"].nunique() > 4
    assert set(made["model"]) == {"corruptions"}
    origin = source[0].set_index("image_id")
    for row in made.itertuples():
        assert row.boxes == origin.loc[row.source_image_id, "boxes"]
        assert row.mask == origin.loc[row.source_image_id, "mask"]
        with Image.open(tmp_path / "w" / row.image) as image:
            assert image.size == (row.width, row.height)
    card = json.loads((tmp_path / "w" / made.image[0]).with_suffix(".json").read_text())
    assert {"torch", "torchvision"} < set(card["made_with"])


def generators(styles: Path) -> list[tuple[dict[str, PseudoDomain], ImageGenerator]]:
    """Every generator without a diffusion model, with domains for it."""
    by_style = {"art": PseudoDomain(style=str(styles)), "mixed": PseudoDomain(style=str(styles), strength=0.5, band=1)}
    return [(corruptions(fog=[0.2, 0.9], gaussian_noise=0.5), CorruptionGenerator()),
            (by_style, FourierGenerator(by_style, []))]


@pytest.mark.parametrize("which", [0, 1])
def test_bits_depend_on_seed_alone(source, styles: Path, tmp_path: Path, which: int) -> None:
    domains, generator = generators(styles)[which]
    manifest, root = source
    whole = synthesise(manifest, root, domains, generator, 2, 0, tmp_path / "whole")
    reverse = dict(reversed(domains.items()))
    synthesise(manifest[::-1].reset_index(drop=True), root, reverse, generator, 2, 0, tmp_path / "reverse")
    for shard in ("2/3", "1/3", "3/3"):
        synthesise(manifest, root, domains, generator, 2, 0, tmp_path / "shards", shard)
    assert files(tmp_path / "reverse") == files(tmp_path / "whole") == files(tmp_path / "shards")
    other = synthesise(manifest, root, domains, generator, 2, 1, tmp_path / "other")
    assert (other["sha256"] != whole["sha256"]).mean() > 0.5


@pytest.mark.parametrize("which", [0, 1])
def test_finished_images_are_kept(source, styles: Path, tmp_path: Path, which: int,
                                  monkeypatch: pytest.MonkeyPatch) -> None:
    domains, generator = generators(styles)[which]
    first = synthesise(*source, domains, generator, 2, 0, tmp_path / "w")
    whole, painted = files(tmp_path / "w"), []
    paint = type(generator).paint
    monkeypatch.setattr(type(generator), "paint", lambda self, jobs, sources: painted.extend(jobs)
                        or paint(self, jobs, sources))
    synthesise(*source, domains, generator, 2, 0, tmp_path / "w")
    assert painted == []
    (tmp_path / "w" / first.image[3]).unlink()
    synthesise(*source, domains, generator, 2, 0, tmp_path / "w")
    assert [job.image for job in painted] == [first.image[3]]
    assert files(tmp_path / "w") == whole


def test_other_severity_is_made_again(source, tmp_path: Path) -> None:
    one, other = (synthesise(*source, corruptions(fog=severity), CorruptionGenerator(), 1, 0, tmp_path / "w")
                  for severity in (0.3, 0.6))
    assert (one["sha256"] != other["sha256"]).all()


def test_other_style_image_is_made_again(source, styles: Path, tmp_path: Path) -> None:
    domains = {"art": PseudoDomain(style=str(styles))}
    one = synthesise(*source, domains, FourierGenerator(domains, []), 2, 0, tmp_path / "w")
    Image.new("RGB", (30, 50), (200, 10, 10)).save(styles / "warm.png")
    other = synthesise(*source, domains, FourierGenerator(domains, []), 2, 0, tmp_path / "w")
    changed = one["sha256"] != other["sha256"]
    assert changed.equals(one["prompt"] == "warm.png")
    assert 0 < changed.sum() < len(one)


def test_fourier_takes_light_and_keeps_edges(source, tmp_path: Path) -> None:
    (tmp_path / "dark").mkdir()
    Image.new("RGB", (10, 10), (40, 40, 60)).save(tmp_path / "dark" / "flat.png")
    domains = {"dark": PseudoDomain(style=str(tmp_path / "dark"), band=0.0)}
    made = synthesise(*source, domains, FourierGenerator(domains, []), 1, 0, tmp_path / "w")
    for row, origin in zip(made.itertuples(), source[0].itertuples(), strict=True):
        old, new = (torch.from_numpy(np.array(Image.open(path).convert("RGB"))).permute(2, 0, 1) / 255
                    for path in (source[1] / origin.image, tmp_path / "w" / row.image))
        assert new.mean() < 0.6 * old.mean()
        assert (box_visibility(old, new, torch.tensor(row.boxes)) > 0.2).all()


@pytest.mark.parametrize(("given", "message"), [
    ("missing", r"domains\.art\.style: the folder '.*missing' does not exist: create it"),
    ("empty", r"domains\.art\.style: the folder '.*empty' has no image \(\.jpg, "),
    ("night", r"'.*night' shares images with '.*night', the folder of a target domain: no target image may train"),
    ("night/images", r"shares images with '.*night'"),
    (".", r"shares images with '.*night'"),
    ("links", r"shares images with '.*night'"),
    ("linked", r"shares images with '.*night'"),
])
def test_style_folder_is_refused(tmp_path: Path, given: str, message: str) -> None:
    for folder in ("empty", "night/images", "links"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "empty" / "notes.txt").write_text("no image")
    Image.new("RGB", (8, 8)).save(tmp_path / "night/images/a.png")
    (tmp_path / "links" / "b.png").symlink_to(tmp_path / "night/images/a.png")
    (tmp_path / "linked").symlink_to(tmp_path / "night")
    with pytest.raises(DataError, match=message) as error:
        style_images({"art": PseudoDomain(style=str(tmp_path / given))}, [tmp_path / "night"])
    assert len(str(error.value).splitlines()) == 1


def test_broken_style_image_error(source, tmp_path: Path) -> None:
    (tmp_path / "styles").mkdir()
    (tmp_path / "styles" / "a.png").write_bytes(b"no image")
    domains = {"art": PseudoDomain(style=str(tmp_path / "styles"))}
    with pytest.raises(DataError, match=r"a\.png: it is truncated or no image"):
        synthesise(*source, domains, FourierGenerator(domains, []), 1, 0, tmp_path / "w")
