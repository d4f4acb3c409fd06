"""Street crops as image folders: every object of the classification task, each layout in one domain."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from PIL import Image
from streets_fixture import CLASSES

from dg_project.config import LeaveOneOutParams
from dg_project.core.errors import DataError
from dg_project.data.dataset import ManifestDataset
from dg_project.data.readers import read_domain
from dg_project.experiments.leave_one_out import layout
from dg_project.experiments.training_data import task_rows
from dg_project.pretraining.street_crops import assign_layouts, main, write_crops


def test_assign_layouts() -> None:
    rows = [("day", f"l{i}_c{c}") for i in range(4) for c in range(2)]
    rows += [(domain, f"l{i}_c{c}") for domain in ("fog", "night") for i in range(2, 8) for c in range(2)]
    found = assign_layouts(pd.DataFrame(rows, columns=["domain", "image_id"]))
    owners = found.groupby(found["image_id"].str[:2])["domain"].agg(set)
    assert owners.map(len).tolist() == [1] * 8
    assert found["image_id"].nunique() == len(found) == 16, "all cameras of a layout stay together, none is lost"
    assert found["domain"].value_counts().to_dict() == {"day": 6, "fog": 6, "night": 4}


def test_write_crops_read_by_leave_one_out(tiny_streets: Path, tmp_path: Path) -> None:
    out = tmp_path / "crops"
    counts = write_crops(tiny_streets, out, CLASSES)
    files = {path.relative_to(out).as_posix(): path for path in out.rglob("*.png")}
    assert len(files) == int(counts.to_numpy().sum())
    names = [path.name for path in files.values()]
    assert {name.split("_")[0] for name in names} == {"train", "val", "test"}, "labels of adapt are not opened"
    assert len(set(names)) == len(names), "no object in two domains"
    domains, classes = layout(out, LeaveOneOutParams())
    assert set(domains) == {path.name for path in tiny_streets.iterdir()}
    assert set(classes) <= set(CLASSES)
    rows = pd.concat([read_domain("voc", tiny_streets, domain, "target", {"test": "test"}, CLASSES)[0]
                      for domain in domains])
    images = ManifestDataset(task_rows(rows, "classification", {}), tiny_streets)
    compared = 0
    for i, row in images.manifest.iterrows():
        path = f"{row['domain']}/{CLASSES[row['labels'][0] - 1]}/{row['image_id']}.png"
        if path in files:
            with Image.open(files[path]) as image:
                assert image.tobytes() == images[i][0].permute(1, 2, 0).numpy().tobytes()
            compared += 1
    assert compared


def test_existing_folder_error(tiny_streets: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="already exists"):
        write_crops(tiny_streets, tmp_path, CLASSES)
    assert main(["--root", str(tmp_path / "nowhere"), "--out", str(tmp_path / "crops")]) == 1
    assert not (tmp_path / "crops").exists()
