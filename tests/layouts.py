"""Tiny data sets in the layouts of the real ones, one function each; each writes below ``root`` and returns it."""

from __future__ import annotations

import json
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from pycocotools import mask as coco_mask
from scipy.io import savemat

WIDTH, HEIGHT = 40, 24
Box = tuple[int, int, int, int]
CAR, PERSON = (4, 12, 16, 22), (20, 8, 26, 21)
"""Two objects (0-based xyxy, exclusive maximum) in most layouts."""


def picture(path: Path, seed: int = 0, size: tuple[int, int] = (WIDTH, HEIGHT)) -> Path:
    """Write a noisy RGB image."""
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(seed).integers(0, 255, (size[1], size[0], 3), dtype=np.uint8)
    Image.fromarray(noise).save(path)
    return path


def ids(path: Path, values: np.ndarray, palette: bool = False) -> Path:
    """Write ids (H, W) as 8-bit or 16-bit grey, or as palette indices."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(values)
    if palette:
        image.putpalette(np.random.default_rng(1).integers(0, 255, 768, dtype=np.uint8).tobytes())
    image.save(path)
    return path


def deep_png(path: Path, values: np.ndarray) -> Path:
    """Write (H, W, C) uint16 as a PNG with 16 bits per channel, which Pillow cannot."""
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    height, width, channels = values.shape
    head = struct.pack(">IIBBBBB", width, height, 16, {1: 0, 2: 4, 3: 2}[channels], 0, 0, 0)
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values.reshape(height, -1))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows))
                     + chunk(b"IEND", b""))
    return path


def scene(background: int, sky: int, objects: dict[int, Box], dtype: type = np.uint8) -> np.ndarray:
    """Return ids (H, W): sky at the top, and each value in its box."""
    values = np.full((HEIGHT, WIDTH), background, dtype)
    values[: HEIGHT // 4] = sky
    for value, (x0, y0, x1, y1) in objects.items():
        values[y0:y1, x0:x1] = value
    return values


def voc(root: Path, devkit: str = "VOCdevkit", names: tuple[str, ...] = ("2008_000002", "2008_000003")) -> Path:
    """``VOCdevkit/VOC2012`` with palette masks (255: the outline), lists of Main and of Segmentation."""
    folder = root / devkit / "VOC2012"
    for seed, name in enumerate(names):
        picture(folder / "JPEGImages" / f"{name}.jpg", seed)
        classes, numbers = scene(0, 0, {7: CAR, 15: PERSON}), scene(0, 0, {1: CAR, 2: PERSON})
        classes[:, 30], numbers[:, 30] = 255, 255
        ids(folder / "SegmentationClass" / f"{name}.png", classes, palette=True)
        ids(folder / "SegmentationObject" / f"{name}.png", numbers, palette=True)
        items = "".join(f"<object><name>{label}</name><difficult>0</difficult><bndbox><xmin>{x0 + 1}</xmin>"
                        f"<ymin>{y0 + 1}</ymin><xmax>{x1}</xmax><ymax>{y1}</ymax></bndbox></object>"
                        for label, (x0, y0, x1, y1) in (("car", CAR), ("person", PERSON)))
        (folder / "Annotations").mkdir(exist_ok=True)
        (folder / "Annotations" / f"{name}.xml").write_text(
            f"<annotation><filename>{name}.jpg</filename><size><width>{WIDTH}</width><height>{HEIGHT}</height></size>"
            f"{items}</annotation>", encoding="utf-8")
    for kind in ("Main", "Segmentation"):
        (folder / "ImageSets" / kind).mkdir(parents=True)
        (folder / "ImageSets" / kind / "train.txt").write_text("\n".join(names) + "\n", encoding="utf-8")
    (folder / "ImageSets" / "Main" / "car_train.txt").write_text("".join(f"{n}  1\n" for n in names), encoding="utf-8")
    return root


COCO_CATEGORIES = [{"id": 1, "name": "person"}, {"id": 3, "name": "car"}, {"id": 10, "name": "traffic light"}]


def coco(root: Path, domain: str = "coco") -> Path:
    """``annotations/instances_<split>.json``, ``train2017`` and ``val2017``; polygons, run lengths, a crowd."""
    for split, first in (("train2017", 0), ("val2017", 100)):
        images, annotations = [], []
        for k in range(3):
            name = f"{first + k:012d}.jpg"
            picture(root / domain / split / name, first + k)
            images.append({"id": first + k + 7, "file_name": name, "width": WIDTH, "height": HEIGHT})
            if k < 2:  # the third image has no object
                annotations += coco_annotations(first + k + 7, 10 * (first + k))
        path = root / domain / "annotations" / f"instances_{split}.json"
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps({"images": images, "annotations": annotations, "categories": COCO_CATEGORIES}))
    return root


def coco_annotations(image: int, first: int) -> list[dict[str, Any]]:
    """A car of two polygons, a person in compressed run lengths, and a crowd of persons in uncompressed ones."""
    person = np.zeros((HEIGHT, WIDTH), np.uint8)
    person[PERSON[1]:PERSON[3], PERSON[0]:PERSON[2]] = 1
    coded = coco_mask.encode(np.asfortranarray(person))
    runs = [WIDTH * HEIGHT - 5 * HEIGHT, 3 * HEIGHT, 2 * HEIGHT]
    x0, y0, x1, y1 = CAR
    polygons = [[x0, y0, x1, y0, x1, y1, x0, y1], [30.5, 2.5, 36.5, 2.5, 33.0, 6.0]]
    return [
        {"id": first + 1, "image_id": image, "category_id": 3, "iscrowd": 0, "segmentation": polygons,
         "bbox": [x0, 2.5, 32.5, y1 - 2.5], "area": 150.0},
        {"id": first + 2, "image_id": image, "category_id": 1, "iscrowd": 0,
         "segmentation": {"size": [HEIGHT, WIDTH], "counts": coded["counts"].decode()},
         "bbox": [PERSON[0], PERSON[1], PERSON[2] - PERSON[0], PERSON[3] - PERSON[1]], "area": 78.0},
        {"id": first + 3, "image_id": image, "category_id": 1, "iscrowd": 1,
         "segmentation": {"size": [HEIGHT, WIDTH], "counts": runs}, "bbox": [35, 0, 3, HEIGHT], "area": 72.0},
    ]


YOLO_CLASSES = ["person", "car", "traffic light"]


def yolo_line(label: int, box: Box) -> str:
    x0, y0, x1, y1 = box
    return (f"{label} {(x0 + x1) / 2 / WIDTH:.6f} {(y0 + y1) / 2 / HEIGHT:.6f} {(x1 - x0) / WIDTH:.6f} "
            f"{(y1 - y0) / HEIGHT:.6f}\n")


def yolo(root: Path, domain: str = "coco8", described: bool = True) -> Path:
    """``images/<split>`` and ``labels/<split>``, with a data.yaml or with a classes.txt; one image has no labels."""
    folder = root / domain
    for split in ("train", "val"):
        for k in range(3):
            picture(folder / "images" / split / f"{k:03d}.jpg", k)
            (folder / "labels" / split).mkdir(parents=True, exist_ok=True)
            if k < 2:
                (folder / "labels" / split / f"{k:03d}.txt").write_text(yolo_line(1, CAR) + yolo_line(0, PERSON))
    if described:
        names = "".join(f"  {k}: {name}\n" for k, name in enumerate(YOLO_CLASSES))
        (folder / "data.yaml").write_text("path: ../datasets/coco8\ntrain: images/train\nval: images/val\ntest:\n"
                                          f"names:\n{names}")
    else:
        (folder / "classes.txt").write_text("\n".join(YOLO_CLASSES) + "\n")
    return root


CITIES = {"train": ("aachen", "bochum"), "val": ("frankfurt",)}


def cityscapes(root: Path, domain: str = "cityscapes", betas: tuple[str, ...] = (), train_ids: bool = False) -> Path:
    """``leftImg8bit`` and ``gtFine``: road, sky, two cars, a person, a group of persons; optionally fog."""
    for split, cities in CITIES.items():
        for city in cities:
            for k in range(2):
                name = f"{city}_{k:06d}_000019"
                picture(root / domain / "leftImg8bit" / split / city / f"{name}_leftImg8bit.png", k)
                for beta in betas:
                    picture(root / domain / "leftImg8bit_foggy" / split / city
                            / f"{name}_leftImg8bit_foggy_beta_{beta}.png", k)
                _city_truth(root / domain / "gtFine" / split / city / f"{name}_gtFine", train_ids)
    return root


CITY_OBJECTS: dict[int, Box] = {26000: CAR, 26001: (28, 14, 33, 20), 24000: PERSON, 24: (35, 10, 39, 18)}
"""Value in instanceIds -> box; 24 is a group of persons."""


def _city_truth(stem: Path, train_ids: bool) -> None:
    labels = {value // 1000 if value >= 1000 else value: box for value, box in CITY_OBJECTS.items()}
    values = scene(7, 23, {}, np.uint8)
    for value, (x0, y0, x1, y1) in CITY_OBJECTS.items():
        values[y0:y1, x0:x1] = value // 1000 if value >= 1000 else value
    values[-1] = 1  # the bonnet of the car with the camera
    instances = scene(7, 23, CITY_OBJECTS, np.uint16)
    instances[-1] = 1
    assert set(labels) == {24, 26}
    ids(stem.with_name(f"{stem.name}_labelIds.png"), values)
    ids(stem.with_name(f"{stem.name}_instanceIds.png"), instances)
    if train_ids:
        table = np.full(256, 255, np.uint8)
        table[[7, 23, 24, 26]] = [0, 10, 11, 13]
        ids(stem.with_name(f"{stem.name}_labelTrainIds.png"), table[values])
    names = {26000: "car", 26001: "car", 24000: "person", 24: "persongroup"}
    objects = [{"label": "road", "polygon": [[0, 0], [WIDTH - 1, 0], [WIDTH - 1, HEIGHT - 1]]}]
    objects += [{"label": names[value], "polygon": [[x0, y0], [x1 - 1, y0], [x1 - 1, y1 - 1], [x0, y1 - 1]]}
                for value, (x0, y0, x1, y1) in sorted(CITY_OBJECTS.items())]
    stem.with_name(f"{stem.name}_polygons.json").write_text(
        json.dumps({"imgHeight": HEIGHT, "imgWidth": WIDTH, "objects": objects}))


def acdc(root: Path, domain: str = "acdc") -> Path:
    """``rgb_anon/<condition>/<split>/<sequence>`` and ``gt``."""
    for number, condition in enumerate(("fog", "night", "rain", "snow")):
        for split in ("train", "val"):
            for k in range(2):
                stem = f"{condition}/{split}/GOPR{number:04d}/GOPR{number:04d}_frame_{k:06d}"
                if split == "val":
                    stem = stem.replace("frame_", "frame_1")
                picture(root / domain / "rgb_anon" / f"{stem}_rgb_anon.png", k)
                ids(root / domain / "gt" / f"{stem}_gt_labelIds.png", scene(7, 23, {26: CAR, 24: PERSON}))
                ids(root / domain / "gt" / f"{stem}_gt_labelTrainIds.png", scene(0, 10, {13: CAR, 11: PERSON}))
    return root


BDD_WEATHER = [("clear", "daytime"), ("rainy", "night"), ("foggy", "dawn/dusk"), ("clear", "night")]


def bdd_frame(name: str, k: int, year: int) -> dict[str, Any]:
    """A frame of the list formats: boxes by their corners (of the last pixel in 2020), and a lane without a box."""
    last = 1 if year == 2020 else 0
    names = ("car", "pedestrian") if year == 2020 else ("car", "person")
    labels = [{"id": str(i), "category": label, "attributes": {"occluded": False, "truncated": False},
               "box2d": {"x1": float(x0), "y1": float(y0), "x2": float(x1 - last), "y2": float(y1 - last)}}
              for i, (label, (x0, y0, x1, y1)) in enumerate(zip(names, (CAR, PERSON), strict=True))]
    labels.append({"id": "9", "category": "lane/road curb", "attributes": {},
                   "poly2d": [{"vertices": [[0, 0], [5, 5]], "types": "LL", "closed": False}]})
    weather, time = BDD_WEATHER[k]
    return {"name": name, "attributes": {"weather": weather, "timeofday": time, "scene": "highway"}, "timestamp": 10000,
            "labels": labels if k < 3 else None}


def bdd100k(root: Path, domain: str = "bdd100k") -> Path:
    """``images/100k`` with the lists of 2020 and 2018 and the files per image, ``images/10k`` with masks."""
    folder = root / domain
    for split in ("train", "val"):
        names = [f"{k:08x}-{split}.jpg" for k in range(4)]
        for k, name in enumerate(names):
            picture(folder / "images" / "100k" / split / name, k)
            picture(folder / "images" / "10k" / split / name, k)
            ids(folder / "labels" / "sem_seg" / "masks" / split / name.replace(".jpg", ".png"),
                scene(0, 10, {13: CAR, 11: PERSON, 255: (0, 20, 3, 24)}))
            old = bdd_frame(name, k, 2018)
            single = {"name": Path(name).stem, "attributes": old["attributes"],
                      "frames": [{"timestamp": 10000, "objects": old["labels"] or []}]}
            write_json(folder / "labels" / "100k" / split / name.replace(".jpg", ".json"), single)
        for path, year in ((f"labels/det_20/det_{split}.json", 2020),
                           (f"labels/bdd100k_labels_images_{split}.json", 2018),
                           (f"labels/sem_seg/polygons/sem_seg_{split}.json", 2020)):
            write_json(folder / path, [bdd_frame(name, k, year) for k, name in enumerate(names)])
    return root


def write_json(path: Path, content: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))


def gta5(root: Path, domain: str = "gta5", split: bool = True) -> Path:
    """``images`` and palette masks in ``labels``, numbered from 1, and the authors' split.mat."""
    for number in range(1, 7):
        picture(root / domain / "images" / f"{number:05d}.png", number)
        ids(root / domain / "labels" / f"{number:05d}.png", scene(7, 23, {26: CAR, 24: PERSON, 34: (5, 18, 8, 20)}),
            palette=True)
    if split:
        savemat(root / domain / "split.mat", {"trainIds": np.array([[2], [5], [3]]), "valIds": np.array([[1]]),
                                              "testIds": np.array([[4], [6]])})
    return root


def synthia(root: Path, domain: str = "RAND_CITYSCAPES", channels: int = 3) -> Path:
    """``RGB`` and 16-bit masks in ``GT/LABELS``: class and instance in the first two channels."""
    for number in range(5):
        picture(root / domain / "RGB" / f"{number:07d}.png", number)
        values = np.zeros((HEIGHT, WIDTH, channels), np.uint16)
        values[..., 0] = scene(3, 1, {8: CAR, 10: PERSON, 22: (30, 20, 36, 22)})
        values[..., 1] = scene(0, 0, {1000: CAR, 2000: PERSON}, np.uint16)
        deep_png(root / domain / "GT" / "LABELS" / f"{number:07d}.png", values)
    return root


def image_mask(root: Path, domain: str = "leaves", images: int = 10) -> Path:
    """``images`` and binary masks (0 and 255) in ``masks``, and ``index.csv`` in the root."""
    for number in range(images):
        picture(root / domain / "images" / f"leaf_{number}.jpg", number)
        ids(root / domain / "masks" / f"leaf_{number}.png", scene(0, 0, {255: CAR}))
    rows = [f"leaf_{number},{'garden' if number < images // 2 else 'forest'}" for number in range(images)]
    (root / "index.csv").write_text("\n".join(["name,place", *rows]) + "\n")
    return root


def mapillary(root: Path, domain: str = "mapillary", labels: int = 66, inner: str = ".") -> Path:
    """``{training,validation}/{images,labels,instances}`` and config.json; instances are label * 256 + number."""
    from dg_project.data.masks import MAPILLARY

    folder = root / domain
    for split in ("training", "validation"):
        for k in range(2):
            name = f"{'aZ-_'[k]}{split[:2]}xJx0PuXHSvRk"
            picture(folder / split / "images" / f"{name}.jpg", k)
            ids(folder / split / inner / "labels" / f"{name}.png",
                scene(13, 27, {55: CAR, 19: PERSON, 65: (0, 20, 3, 24)}), palette=True)
            objects = {55 * 256: CAR, 19 * 256 + 1: PERSON, 45 * 256: (37, 0, 39, 20)}
            values = scene(13 * 256, 27 * 256, objects, np.uint16)
            ids(folder / split / inner / "instances" / f"{name}.png", values)
    names = [MAPILLARY[k][0] if k in MAPILLARY else f"other--{k}" for k in range(labels)]
    write_json(folder / "config.json", {"version": "1.2", "labels": [{"name": name} for name in names]})
    return root


def image_folder(root: Path, classes: tuple[str, ...] = ("dog", "elephant", "giraffe"), images: int = 10) -> Path:
    """PACS: ``<domain>/<class>/<image>`` for two domains, the second of which lacks the last class."""
    for number, (domain, held) in enumerate((("photo", classes), ("art_painting", classes[:-1]))):
        for label in held:
            for k in range(images):
                picture(root / domain / label / f"pic_{k:03d}.jpg", 100 * number + k, (WIDTH + k, HEIGHT))
    return root
