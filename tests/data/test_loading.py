import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from dg_project.core.errors import DataError
from dg_project.data.dataset import ManifestDataset
from dg_project.data.images import load_image


def test_load_image_rgb_uint8(tmp_path):
    grey = np.arange(24, dtype=np.uint8).reshape(4, 6)
    Image.fromarray(grey).save(tmp_path / "grey.png")
    image = load_image(tmp_path / "grey.png")
    assert image.dtype == torch.uint8
    assert image.shape == (3, 4, 6)
    assert torch.equal(image[1], torch.from_numpy(grey))
    Image.fromarray(np.dstack([grey] * 4)).save(tmp_path / "rgba.png")
    assert load_image(tmp_path / "rgba.png").shape == (3, 4, 6)


def test_load_image_broken_file(tmp_path):
    (tmp_path / "broken.png").write_bytes(b"no image")
    for name in ("broken.png", "absent.png"):
        with pytest.raises(DataError, match=name):
            load_image(tmp_path / name)


def test_targets_difficult_boxes(tiny_streets, tiny_manifest):
    data = ManifestDataset(tiny_manifest, tiny_streets)
    assert len(data) == len(tiny_manifest)
    for index in range(len(data)):
        image, target = data[index]
        row = tiny_manifest.iloc[index]
        assert image.shape == (3, row["height"], row["width"])
        assert target["boxes"].dtype == torch.float32
        assert target["boxes"].tolist() == row["boxes"]
        assert target["labels"].tolist() == row["labels"]
        assert target["difficult"].tolist() == row["difficult"]
        assert target["image_id"] == row["image_id"]
    assert any(target["difficult"].any() for _, target in (data[i] for i in range(len(data))))


def test_targets_without_boxes(tiny_streets, tiny_manifest):
    bare = tiny_manifest.head(1).assign(boxes=[[]], labels=[[]], difficult=[[]])
    _, target = ManifestDataset(bare, tiny_streets)[0]
    assert target["boxes"].shape == (0, 4)
    assert target["labels"].shape == (0,)


def test_dataset_from_parquet(tmp_path, tiny_streets, tiny_manifest):
    tiny_manifest.to_parquet(tmp_path / "manifest.parquet")
    again = ManifestDataset(pd.read_parquet(tmp_path / "manifest.parquet"), tiny_streets)
    plain = ManifestDataset(tiny_manifest, tiny_streets)
    for index in range(len(plain)):
        for key in ("boxes", "labels", "difficult"):
            assert torch.equal(again[index][1][key], plain[index][1][key])


def test_dataset_cache_limit(tiny_streets, tiny_manifest):
    two = 2 * 3 * 64 * 96
    data = ManifestDataset(tiny_manifest, tiny_streets, cache_bytes=two)
    images = [data[i][0] for i in range(4)]
    for row in tiny_manifest.head(4).itertuples():
        (tiny_streets / row.image).unlink()
    assert torch.equal(data[0][0], images[0])
    assert torch.equal(data[1][0], images[1])
    with pytest.raises(DataError):
        data[2]


def test_dataset_without_cache(tiny_streets, tiny_manifest):
    data = ManifestDataset(tiny_manifest, tiny_streets, cache=False)
    data[0]
    (tiny_streets / tiny_manifest.iloc[0]["image"]).unlink()
    with pytest.raises(DataError):
        data[0]


@pytest.mark.parametrize(("room", "decoded"), [(2 << 30, ["a", "b"]), (0, ["a", "b", "a"])])
def test_crops_decode_frame_once(tiny_streets, tiny_manifest, monkeypatch, room, decoded):
    row, crops = tiny_manifest.iloc[0], ([0, 0, 30, 20], [10, 5, 40, 25])
    frame = load_image(tiny_streets / row["image"])
    for name in ("a", "b"):
        shutil.copy(tiny_streets / row["image"], tiny_streets / f"{name}{Path(row['image']).suffix}")
    rows = pd.DataFrame([{**row, "image": f"{name}{Path(row['image']).suffix}", "crop": crop}
                         for name in ("a", "b", "a") for crop in crops])
    opened = []
    monkeypatch.setattr("dg_project.data.dataset.load_image",
                        lambda path: opened.append(path.stem) or load_image(path))
    data = ManifestDataset(rows, tiny_streets, cache_bytes=room)
    for i, (x0, y0, x1, y1) in enumerate(crops * 3):
        assert torch.equal(data[i][0], frame[:, y0:y1, x0:x1])
    assert opened == decoded


def test_dataset_path_leaves_root(tiny_streets, tiny_manifest):
    with pytest.raises(DataError, match="leaves its root"):
        ManifestDataset(tiny_manifest.head(1).assign(image="../secret.png"), tiny_streets)
