"""Shared behaviour of all readers: splits, shares, counts, duplicates, links, archives, bombs, memory."""

import threading
import weakref

import numpy as np
import pandas as pd
import pytest
from layouts import COCO_CATEGORIES, coco, gta5, image_folder, picture, voc
from reading import stops_and_skips
from PIL import Image, ImageFile
from streets_fixture import CLASSES, SOURCE
from torchvision.datasets import CocoDetection

from dg_project.core.errors import DataError, ParameterError
from dg_project.data.dataset import ManifestDataset
from dg_project.data.readers import READERS, collection, read_domain
from dg_project.data.readers.collection import IN_FLIGHT
from dg_project.data.readers.folders import in_share, read_json, split_share

SPLITS = {"train": "train", "val": "val", "test": "test"}


def arguments(root, **changes):
    return {"reader": "voc", "root": root, "domain": SOURCE, "role": "source", "splits": SPLITS, "classes": CLASSES,
            **changes}


@pytest.mark.parametrize(("text", "parts"), [
    ("train", ("train", 0, 100)), ("train[:90%]", ("train", 0, 90)), ("train[90%:]", ("train", 90, 100)),
    ("car_train[5%:15%]", ("car_train", 5, 15)), ("train[:]", ("train", 0, 100))])
def test_split_share(text, parts):
    assert split_share(text) == parts


@pytest.mark.parametrize("text", ["", "train[90:]", "train[90%:80%]", "train[:120%]", "train[:90%", "[:90%]", "a[50%]"])
def test_split_share_invalid(text):
    with pytest.raises(DataError, match=r"data\.splits: '.*' is not a split; write its name, or a share"):
        split_share(text)


def test_in_share_partitions_images():
    ids = [f"{k:04d}" for k in range(1000)]
    parts = [in_share(ids, first, last, 0) for first, last in ((0, 80), (80, 90), (90, 100))]
    assert [sum(part) for part in parts] == [800, 100, 100]
    assert all(sum(one) == 1 for one in zip(*parts, strict=True))
    backwards = in_share(ids[::-1], 0, 80, 0)[::-1]
    assert backwards == parts[0]
    assert in_share(ids, 0, 80, 1) != parts[0]
    assert 340 < sum(part for part in parts[0][:430]) < 350 + 20  # drawn at random, not cut off


def test_validation_share_of_training_list(tiny_streets):
    splits = {"train": "train[:75%]", "val": "train[75%:]", "test": "test"}
    manifest, _ = read_domain(**arguments(tiny_streets, splits=splits))
    assert manifest["split"].value_counts().to_dict() == {"train": 6, "val": 2, "test": 4}


def test_expected_counts_differ(tiny_streets):
    for path in (tiny_streets / SOURCE / "VOC2007" / "JPEGImages").iterdir():
        path.write_text("not read")
    message = (rf"{SOURCE}/val: 'val' below '.*{SOURCE}' lists 4 images, but data\.expected_counts says 5: it is "
               "another split or version")
    with pytest.raises(DataError, match=message):
        read_domain(**arguments(tiny_streets, splits={"val": "val"}), expected_counts={"val": 5})


def test_expected_counts_agree(tiny_streets):
    (tiny_streets / SOURCE / "VOC2007" / "JPEGImages" / "val_001.jpg").write_text("broken")
    manifest, skipped = read_domain(**arguments(tiny_streets), on_bad_sample="skip", limits={"train": 2},
                                    expected_counts={"train": 8, "val": 4, "test": 4})
    assert (len(manifest), len(skipped)) == (9, 1)


def test_duplicate_id_stops_or_skips(tiny_streets):
    path = tiny_streets / SOURCE / "VOC2007" / "ImageSets" / "Main" / "train.txt"
    path.write_text(path.read_text() + "train_003\n")
    message = rf"the image id 'train_003' comes twice in the domain '{SOURCE}'"
    assert len(stops_and_skips(message, **arguments(tiny_streets))) == 16


def test_reader_options_nearest_name(tiny_streets):
    with pytest.raises(ParameterError, match=r"reader 'voc': .*unknown parameter 'yaer'\. Did you mean 'year'\?"):
        read_domain(**arguments(tiny_streets), options={"yaer": "VOC2012"})
    with pytest.raises(ParameterError, match=r"mask_ids Input should be 'train_ids' or 'voc'"):
        read_domain(**arguments(tiny_streets), options={"mask_ids": "cityscapes"})
    with pytest.raises(DataError, match=r"'.*VOC2012/JPEGImages' is missing\. Did you mean 'VOC2007'\?"):
        read_domain(**arguments(tiny_streets), options={"year": "VOC2012"})


def test_every_reader_empty_folder(tmp_path):
    (tmp_path / "empty").mkdir()
    for name in READERS:
        with pytest.raises(DataError, match=r"empty") as error:
            read_domain(name, tmp_path, "empty", "source", {"train": "train"}, ["car"])
        assert any(word in str(error.value) for word in ("expects", "looks there")), name


def test_every_reader_packed_archive(tmp_path):
    (tmp_path / "packed").mkdir()
    (tmp_path / "packed" / "data.zip").write_bytes(b"PK\x03\x04")
    for name in set(READERS) - {"yolo"}:  # which first looks for its class names
        with pytest.raises(DataError, match=r"There is an archive in '.*packed': unpack 'data\.zip'"):
            read_domain(name, tmp_path, "packed", "source", {"train": "train"}, ["car"])


def test_archive_among_images(tmp_path):
    root = gta5(tmp_path)
    for path in (root / "gta5" / "images").iterdir():
        path.unlink()
    (root / "gta5" / "images" / "01_images.zip").write_bytes(b"PK\x03\x04")
    with pytest.raises(DataError, match=r"no image in '.*images'\. There is an archive in .*: unpack '01_images\.zip'"):
        read_domain("gta5", root, "gta5", "source", {"train": "all"}, ["car"])


def test_looping_links(tiny_streets):
    images = tiny_streets / SOURCE / "VOC2007" / "JPEGImages"
    (images / "train_002.jpg").unlink()
    (images / "train_002.jpg").symlink_to(images / "train_002.jpg")
    stops_and_skips(r"train_002\.jpg", **arguments(tiny_streets))
    (tiny_streets / "round").symlink_to(tiny_streets / "round")
    with pytest.raises(DataError, match=r"round' cannot be resolved .*remove or correct its symbolic links"):
        read_domain(**arguments(tiny_streets, domain="round"))


def test_folder_linked_into_itself(tmp_path):
    root = image_folder(tmp_path, images=2)
    (root / "photo" / "dog" / "again").symlink_to(root / "photo", target_is_directory=True)
    manifest, _ = read_domain("image_folder", root, "photo", "source", {"train": "all"}, ["dog", "elephant", "giraffe"])
    assert len(manifest) == 6


def test_links_out_of_root_refused(tiny_streets, tmp_path):
    picture(tmp_path / "elsewhere.jpg")
    path = tiny_streets / SOURCE / "VOC2007" / "JPEGImages" / "val_000.jpg"
    path.unlink()
    path.symlink_to(tmp_path / "elsewhere.jpg")
    stops_and_skips("leaves its root", **arguments(tiny_streets))


def test_decompression_bomb_skipped(tiny_streets, monkeypatch):
    picture(tiny_streets / SOURCE / "VOC2007" / "JPEGImages" / "train_001.jpg", size=(300, 200))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 96 * 64 * 2)
    assert len(stops_and_skips(r"train_001\.jpg: it unpacks to more pixels", **arguments(tiny_streets))) == 15


@pytest.mark.parametrize(("kind", "value", "message"), [
    ("SegmentationClass", 19, r"SegmentationClass/train_001\.png: it holds the ids 19, which 'train_ids'"),
    ("SegmentationObject", 9, r"SegmentationObject/train_001\.png: no pixel has the value 1 of an annotated object")])
def test_wrong_masks_skipped(tiny_streets, kind, value, message):
    path = tiny_streets / SOURCE / "VOC2007" / kind / "train_001.png"
    Image.new("L", (96, 64), value).save(path)
    assert len(stops_and_skips(message, **arguments(tiny_streets))) == 15
    Image.new("L", (96, 60)).save(path)
    assert len(stops_and_skips(r"train_001\.png: it is 96x60, but its image is 96x64", **arguments(tiny_streets))) == 15


def test_rename_and_other_classes(tiny_streets, caplog):
    whole, _ = read_domain(**arguments(tiny_streets))
    with caplog.at_level("INFO"):
        manifest, _ = read_domain(**arguments(tiny_streets, classes=["two-wheeler", "car"]), other_classes="ignore",
                                  rename={"bike": "two-wheeler", "motor": "two-wheeler"})
    ours = {CLASSES.index(name) + 1: label for name, label in (("bike", 1), ("motor", 1), ("car", 2))}
    for before, after in zip(whole.itertuples(), manifest.itertuples(), strict=True):
        kept = [k for k, label in enumerate(before.labels) if label in ours]
        assert after.boxes == [before.boxes[k] for k in kept]
        assert after.labels == [ours[before.labels[k]] for k in kept]
        assert after.instance_ids == [k + 1 for k in kept]
    assert f"{SOURCE}/train: boxes skipped" in caplog.text


def test_reading_keeps_no_images(tmp_path, monkeypatch):
    """Of 60 decoded images, at most one per thread is alive at a time."""
    root = image_folder(tmp_path, classes=("dog",), images=60)
    alive, most, lock = set(), [0], threading.Lock()
    load = ImageFile.ImageFile.load

    def counting(self):
        with lock:
            if id(self) not in alive:
                alive.add(id(self))
                weakref.finalize(self, alive.discard, id(self))
            most[0] = max(most[0], len(alive))
        return load(self)

    monkeypatch.setattr(ImageFile.ImageFile, "load", counting)
    monkeypatch.setattr("dg_project.data.readers.collection.ThreadPoolExecutor", lambda: _pool(3))
    manifest, _ = read_domain("image_folder", root, "photo", "source", {"train": "all"}, ["dog"])
    assert len(manifest) == 60
    assert 1 <= most[0] <= 3
    assert len(alive) == 0


def test_in_order_bounds_queue():
    started = []
    with _pool(3) as pool:
        results = collection._in_order(pool, lambda number: started.append(number) or number, range(10 * IN_FLIGHT))
        assert next(results) == 0
        assert len(started) <= IN_FLIGHT
        assert list(results) == list(range(1, 10 * IN_FLIGHT))


def test_chunk_size_does_not_change_manifest(tmp_path, monkeypatch):
    root = image_folder(tmp_path, classes=("dog",), images=20)
    splits = {"train": "all[:60%]", "val": "all[60%:]"}
    whole, _ = read_domain("image_folder", root, "photo", "source", splits, ["dog"])
    monkeypatch.setattr(collection, "CHUNK", 7)
    chunked, _ = read_domain("image_folder", root, "photo", "source", splits, ["dog"])
    assert len(chunked) == 20
    pd.testing.assert_frame_equal(chunked, whole)


def _pool(workers):
    from concurrent.futures import ThreadPoolExecutor

    return ThreadPoolExecutor(workers)


def test_coco_parsed_once_per_split(tmp_path, monkeypatch):
    root = coco(tmp_path)
    parsed = []
    monkeypatch.setattr("dg_project.data.readers.coco.read_json", lambda *a: parsed.append(a) or read_json(*a))
    names = [item["name"] for item in COCO_CATEGORIES]
    read_domain("coco", root, "coco", "source", {"train": "train2017", "val": "val2017"}, names)
    assert len(parsed) == 2


def test_voc_year_option(tmp_path):
    root = voc(tmp_path)
    manifest, _ = read_domain("voc", root, "VOCdevkit", "source", {"train": "car_train"}, ["car", "person"],
                              options={"year": "VOC2012", "mask_ids": "voc"})
    assert len(manifest) == 2
    (root / "flat").mkdir()
    (root / "VOCdevkit" / "VOC2012").rename(root / "flat" / "inner")
    manifest, _ = read_domain("voc", root, "flat", "source", {"train": "train"}, ["car", "person"],
                              folder="flat/inner", options={"year": ".", "mask_ids": "voc"})
    assert len(manifest) == 2


def turn(path, orientation):
    """Set the EXIF orientation of an image, without changing its pixels."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    with Image.open(path) as image:
        image.save(path, quality="keep", exif=exif)


def test_exif_rotated_images_warning(tmp_path, caplog):
    coco(tmp_path)
    arguments = {"reader": "coco", "root": tmp_path, "domain": "coco", "role": "source", "splits": {"train": "train2017"},
             "classes": [item["name"] for item in COCO_CATEGORIES]}
    plain, _ = read_domain(**arguments)
    assert "viewers rotate" not in caplog.text
    folder = tmp_path / "coco" / "train2017"
    for number, orientation in ((0, 6), (1, 3), (2, 1)):
        turn(folder / f"{number:012d}.jpg", orientation)
    found, _ = read_domain(**arguments)
    pd.testing.assert_frame_equal(found.drop(columns="sha256"), plain.drop(columns="sha256"))
    assert "coco/train: viewers rotate 2 images, such as 'coco/train2017/000000000000.jpg'" in caplog.text
    theirs = CocoDetection(str(folder), str(tmp_path / "coco" / "annotations" / "instances_train2017.json"))
    for (image, _), (pixels, _) in zip(theirs, ManifestDataset(found, tmp_path), strict=True):
        np.testing.assert_array_equal(np.asarray(image), pixels.permute(1, 2, 0).numpy())


def test_exif_rotated_size_message(tmp_path):
    folder = voc(tmp_path) / "VOCdevkit" / "VOC2012"
    path = folder / "Annotations" / "2008_000002.xml"
    path.write_text(path.read_text().replace("<width>40</width><height>24</height>",
                                             "<width>24</width><height>40</height>"))
    arguments = {"reader": "voc", "root": tmp_path, "domain": "VOCdevkit", "role": "source", "splits": {"train": "train"},
             "classes": ["car", "person"], "options": {"year": "VOC2012", "mask_ids": "voc"}}
    stops_and_skips("belongs to another image or to the image before resizing", **arguments)
    turn(folder / "JPEGImages" / "2008_000002.jpg", 6)
    stops_and_skips(r"\(24, 40\), but .* is 40x24; .* as rotated by its EXIF orientation; rotate", **arguments)
