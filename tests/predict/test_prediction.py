"""Predictions on folders, lists and videos: outputs, resuming, and unusable inputs."""

from __future__ import annotations

import csv
import json
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from pycocotools.coco import COCO

from dg_project.config import PredictParams, Task
from dg_project.core.errors import DataError, ParameterError
from dg_project.core.extras import MissingExtraError
from dg_project.data.images import load_image
from dg_project.export.served import Served
from dg_project.methods.model_folder import load_model
from dg_project.predict import inputs, prediction
from dg_project.predict.inputs import Frame, ImageFiles, open_source
from dg_project.predict.prediction import PredictionRun, predict_source
from dg_project.predict.writing import summary, write_predictions

Models = dict[Task, Path]


def run(model: Path, path: Path, work: Path, **params: Any) -> PredictionRun:
    chosen = PredictParams(**{"score_threshold": 0.2, **params})
    return predict_source(model, open_source(path, chosen.every), chosen, "cpu", work)


def written(predicted: PredictionRun, target: Path) -> Path:
    target.mkdir()
    write_predictions(predicted, target)
    return target


def test_folder_outputs(models: Models, folder: Path, tmp_path: Path) -> None:
    predicted = run(models["instance_segmentation"], folder, tmp_path / "work")
    out = written(predicted, tmp_path / "out")
    names = sorted(path.name for path in folder.iterdir())
    assert sorted(path.name for path in (out / "drawn").iterdir()) == names
    coco = COCO(str(out / "coco.json"))
    assert sorted(entry["file_name"] for entry in coco.loadImgs(coco.getImgIds())) == names
    method, image = load_model(models["instance_segmentation"]), load_image(folder / names[0])
    found = method.predict([image.float() / 255])[0]
    sure = found["scores"] >= 0.2
    annotations = coco.loadAnns(coco.getAnnIds(imgIds=[1]))
    assert len(annotations) == int(sure.sum()) > 0
    for annotation, box, label, mask in zip(annotations, found["boxes"][sure], found["labels"][sure],
                                            found["masks"][sure], strict=True):
        x, y, w, h = annotation["bbox"]
        np.testing.assert_allclose([x, y, x + w, y + h], box.tolist(), atol=1e-3)
        assert annotation["category_id"] == int(label)
        np.testing.assert_array_equal(coco.annToMask(annotation).astype(bool), mask.numpy())
    rows = list(csv.DictReader((out / "predictions.csv").open()))
    assert len(rows) == len(coco.getAnnIds())
    drawn = Image.open(out / "drawn" / names[0])
    assert drawn.size == (3 * image.shape[2], 3 * image.shape[1])  # enlarged, so that labels can be read
    assert (np.asarray(drawn)[::3, ::3] != image.permute(1, 2, 0).numpy()).any()
    counts = summary(predicted)
    assert counts["images"] == len(names)
    assert sum(counts["found"].values()) == len(rows)


def test_masks_have_cityscapes_colours(models: Models, folder: Path, tmp_path: Path) -> None:
    out = written(run(models["segmentation"], folder, tmp_path / "work", formats="masks"), tmp_path / "out")
    first = min(path.name for path in folder.iterdir())
    mask = Image.open(out / "masks" / f"{first}.png")
    assert mask.mode == "P"
    found = load_model(models["segmentation"]).predict([load_image(folder / first).float() / 255])[0]["mask"]
    np.testing.assert_array_equal(np.asarray(mask), found.numpy())
    assert mask.getpalette()[:3] == [128, 64, 128]
    assert not (out / "drawn").exists()


def test_exif_orientation_is_applied(models: Models, folder: Path, tmp_path: Path) -> None:
    """A rotated photo and its upright twin give the same outputs, also from a served model."""
    exif = Image.Exif()
    exif[0x0112] = 8  # viewers rotate it by 90 degrees to the left
    with Image.open(folder / "test_000.jpg") as image:
        shown = image.convert("RGB")
    for name in ("photo", "twin"):
        (tmp_path / name).mkdir()
    shown.save(tmp_path / "twin" / "a.png")
    shown.transpose(Image.Transpose.ROTATE_270).save(tmp_path / "photo" / "a.png", exif=exif)
    for task, formats in (("instance_segmentation", "coco+drawn+csv"), ("segmentation", "drawn+masks")):
        out = [written(run(models[task], tmp_path / name, tmp_path / "work", formats=formats),
                       tmp_path / f"{name}_{task}") for name in ("photo", "twin")]
        files = [{path.relative_to(one): path.read_bytes() for path in one.rglob("*") if path.is_file()} for one in out]
        assert len(files[0]) >= 2
        assert files[0] == files[1]
    assert json.loads((tmp_path / "photo_instance_segmentation" / "coco.json").read_text())["images"][0]["width"] == 96
    served = Served(models["detection"])
    sent = [(tmp_path / name / "a.png").read_bytes() for name in ("photo", "twin")]
    rows = served.predict(pd.DataFrame({"image": sent}))
    assert len(rows["boxes"][0]) > 0
    assert np.array_equal(np.stack(rows["boxes"][0]), np.stack(rows["boxes"][1]))


def test_list_keeps_order_and_names_stay_inside(models: Models, folder: Path, tmp_path: Path) -> None:
    (tmp_path / "lists").mkdir()
    shutil.copy(folder / "test_001.jpg", tmp_path / "ä b.jpg")
    (tmp_path / "lists" / "some.txt").write_text(f"{folder / 'test_003.jpg'}\n../ä b.jpg\n\n", encoding="utf-8")
    out = written(run(models["classification"], tmp_path / "lists" / "some.txt", tmp_path / "work"), tmp_path / "out")
    rows = list(csv.DictReader((out / "predictions.csv").open(encoding="utf-8")))
    assert [Path(row["image"]).name for row in rows] == ["test_003.jpg", "ä b.jpg"]
    assert all(sum(float(row[name]) for name in list(row)[2:]) == pytest.approx(1, abs=1e-4) for row in rows)
    assert all(path.is_relative_to(out / "drawn") for path in (out / "drawn").rglob("*"))
    assert (out / "drawn" / "ä b.jpg").is_file()


def test_broken_images_raise_or_are_counted(models: Models, folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder, tmp_path / "images")
    (tmp_path / "images" / "val_000.jpg").write_bytes(b"no image")
    (tmp_path / "images" / "notes.zip").write_bytes(b"PK")
    with pytest.raises(DataError, match=r"val_000\.jpg.*on_bad_sample=skip"):
        run(models["detection"], tmp_path / "images", tmp_path / "work")
    predicted = run(models["detection"], tmp_path / "images", tmp_path / "work", on_bad_sample="skip")
    counts = summary(predicted)
    assert (counts["images"], counts["skipped"]) == (16, 1)
    assert "val_000.jpg" in counts["problems"][0]
    out = written(predicted, tmp_path / "out")
    assert len(json.loads((out / "coco.json").read_text())["images"]) == 15


def test_interrupted_run_resumes_at_its_chunk(models: Models, folder: Path, tmp_path: Path,
                                              monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inputs, "CHUNK", 4)
    opened: list[str] = []
    plain = inputs._read

    def dying(item: tuple[str, Path]) -> Frame:
        if len(opened) == 10:
            raise KeyboardInterrupt
        opened.append(item[0])
        return plain(item)

    monkeypatch.setattr(inputs, "_read", dying)
    with pytest.raises(KeyboardInterrupt):
        run(models["detection"], folder, tmp_path / "work")
    first, opened = opened[:8], []
    monkeypatch.setattr(inputs, "_read", lambda item: (opened.append(item[0]), plain(item))[1])
    resumed = run(models["detection"], folder, tmp_path / "work")
    assert not set(first) & set(opened)
    assert len(opened) == 8
    whole = run(models["detection"], folder, tmp_path / "other")
    a, b = written(resumed, tmp_path / "a"), written(whole, tmp_path / "b")
    assert (a / "coco.json").read_bytes() == (b / "coco.json").read_bytes()


def make_video(path: Path, folder: Path, frames: int = 10) -> Path:
    import av

    files = sorted(folder.glob("*.jpg"))
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=5)
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv420p"
        for k in range(frames):
            container.mux(stream.encode(av.VideoFrame.from_image(Image.open(files[k % len(files)]))))
        container.mux(stream.encode(None))
    return path


def test_video_outputs(models: Models, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import av

    monkeypatch.setattr(inputs, "CHUNK", 2)
    film = make_video(tmp_path / "drive.mp4", folder)
    predicted = run(models["detection"], film, tmp_path / "work", every=3)
    rows = list(predicted.rows())
    assert [row["name"] for row in rows] == ["frame_000000", "frame_000003", "frame_000006", "frame_000009"]
    assert [row["seconds"] for row in rows] == pytest.approx([0, 0.6, 1.2, 1.8])
    out = written(predicted, tmp_path / "out")
    with av.open(str(out / "drawn.mp4")) as container:
        assert sum(1 for _ in container.decode(video=0)) == 4
        assert float(container.streams.video[0].average_rate) == pytest.approx(5 / 3, rel=1e-3)
    assert "seconds" in (out / "predictions.csv").read_text().splitlines()[0]
    drawn = sorted((predicted.folder / "drawn").iterdir())
    times = [path.stat().st_mtime_ns for path in drawn]
    again = run(models["detection"], film, tmp_path / "work", every=3)
    assert [path.stat().st_mtime_ns for path in drawn] == times
    assert again.keys == predicted.keys

    film.write_bytes(film.read_bytes()[:200])
    with pytest.raises(DataError, match="is not a readable video"):
        open_source(film)


def test_video_needs_pyav(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.mp4").write_bytes(b"")
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'dg_project\[video\]'"):
        open_source(tmp_path / "a.mp4")


@pytest.mark.parametrize(("name", "content", "message"), [
    ("nowhere", None, "does not exist"), ("a.zip", b"PK", "is neither a folder"), ("empty", "folder", "has no image"),
    ("list.txt", b"\n", "has no image"), ("list.txt", b"\xff\xfe\x00", "not UTF-8 text"),
    ("list.txt", b"/a/b.jpg\na/b.jpg\n", "both be named 'a/b.jpg'"),
])
def test_unusable_input_raises(name: str, content: bytes | str | None, message: str, tmp_path: Path) -> None:
    path = tmp_path / name
    if content == "folder":
        path.mkdir()
    elif isinstance(content, bytes):
        path.write_bytes(content)
    with pytest.raises(DataError, match=message):
        open_source(path)


def test_format_that_the_task_lacks_raises(models: Models, folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ParameterError, match="segmentation cannot be written as 'coco'; it has drawn, masks"):
        run(models["segmentation"], folder, tmp_path, formats="drawn+coco")


def test_memory_is_constant(models: Models, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """At most one batch and one chunk of rows are alive, for any number of images."""
    import gc
    import weakref

    monkeypatch.setattr(inputs, "CHUNK", 4)
    alive: weakref.WeakSet[Frame] = weakref.WeakSet()
    most = 0
    plain = inputs._read

    def counted(item: tuple[str, Path]) -> Frame:
        nonlocal most
        frame = plain(item)
        alive.add(frame)
        gc.collect(0)
        most = max(most, len(alive))
        return frame

    monkeypatch.setattr(inputs, "_read", counted)
    monkeypatch.setattr(prediction._ChunkPredictor, "_predict", lambda self, batch: [])
    source = open_source(folder)
    assert isinstance(source, ImageFiles)
    predict_source(models["classification"], source, PredictParams(batch_size=2), "cpu", tmp_path)
    assert most <= 4
    assert torch.is_tensor(counted((min(source.files), source.files[min(source.files)])).image)
