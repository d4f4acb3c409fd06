"""From instance indices to labels: visible-pixel boxes, VOC XML, and semantic and instance masks."""

from __future__ import annotations

from dataclasses import dataclass
from xml.etree import ElementTree as ET

import numpy as np
from cameras import HEIGHT, WIDTH, Pose
from PIL import Image, ImageDraw
from scipy.spatial import ConvexHull, QhullError
from traffic import FIRST_INSTANCE, TRAIN_ID, Instance

MIN_PIXELS = 20  # fewer visible pixels: no box
MIN_SIDE = 4
FILL = {
    "person": 0.75,
    "rider": 0.7,
    "car": 0.95,
    "truck": 0.95,
    "bus": 0.95,
    "motor": 0.75,
    "bike": 0.5,
}  # share of the convex hull
SKY, IGNORE = 10, 255

PALETTE = [
    (128, 64, 128),
    (244, 35, 232),
    (70, 70, 70),
    (102, 102, 156),
    (190, 153, 153),
    (153, 153, 153),
    (250, 170, 30),
    (220, 220, 0),
    (107, 142, 35),
    (152, 251, 152),
    (70, 130, 180),
    (220, 20, 60),
    (255, 0, 0),
    (0, 0, 142),
    (0, 0, 70),
    (0, 60, 100),
    (0, 80, 100),
    (0, 0, 230),
    (119, 11, 32),
]


@dataclass(frozen=True)
class Box:
    """A labelled object: 0-based inclusive pixel box, visible share of its full outline, and flags."""

    index: int
    name: str
    xyxy: tuple[int, int, int, int]
    visible: float
    truncated: bool
    difficult: bool


def boxes(ids: np.ndarray, instances: list[Instance], pose: Pose) -> list[Box]:
    """Boxes of all objects with enough visible pixels."""
    found: list[Box] = []
    for inst in instances:
        mask = ids == inst.index
        pixels = int(mask.sum())
        if pixels < MIN_PIXELS:
            continue
        ys, xs = np.where(mask)
        x0, y0, x1, y1 = int(xs.min()), int(ys.min()), int(xs.max()), int(ys.max())
        w, h = x1 - x0 + 1, y1 - y0 + 1
        if min(w, h) < MIN_SIDE:
            continue
        area, cut = _outline(inst.points, pose)
        visible = min(1.0, pixels / max(1.0, area * FILL[inst.name]))
        difficult = visible < 0.35 or max(w, h) < 15 or pixels < 60
        found.append(Box(inst.index, inst.name, (x0, y0, x1, y1), visible, cut, difficult))
    return found


def _outline(points: np.ndarray, pose: Pose) -> tuple[float, bool]:
    """Area in pixels of the projected convex outline inside the image, and whether the image border cuts it."""
    uvz = pose.project(points)
    cut = bool((uvz[:, 2] < 0.1).any())
    uv = np.clip(uvz[uvz[:, 2] > 0.1, :2], -5000, 5000)
    if len(uv) < 3:
        return 0.0, cut
    cut = cut or bool((uv.min(0) < 0).any() or uv[:, 0].max() > WIDTH or uv[:, 1].max() > HEIGHT)
    try:
        hull = uv[ConvexHull(uv).vertices]
    except QhullError:
        return 0.0, cut
    canvas = Image.new("1", (WIDTH, HEIGHT))
    ImageDraw.Draw(canvas).polygon([tuple(p) for p in hull], fill=1)
    return float(np.asarray(canvas).sum()), cut


def voc_xml(name: str, domain: str, found: list[Box], extra: dict[str, str]) -> bytes:
    """A Pascal VOC annotation (1-based inclusive integers)."""
    root = ET.Element("annotation")
    ET.SubElement(root, "folder").text = domain
    ET.SubElement(root, "filename").text = f"{name}.jpg"
    source = ET.SubElement(root, "source")
    ET.SubElement(source, "database").text = "Streets (rendered)"
    for k, v in extra.items():
        ET.SubElement(source, k).text = v
    size = ET.SubElement(root, "size")
    for k, v in (("width", WIDTH), ("height", HEIGHT), ("depth", 3)):
        ET.SubElement(size, k).text = str(v)
    ET.SubElement(root, "segmented").text = "1"
    for b in found:
        ob = ET.SubElement(root, "object")
        for k, v in (
            ("name", b.name),
            ("pose", "Unspecified"),
            ("truncated", int(b.truncated)),
            ("occluded", int(b.visible < 0.75)),
            ("difficult", int(b.difficult)),
        ):
            ET.SubElement(ob, k).text = str(v)
        bb = ET.SubElement(ob, "bndbox")
        for k, v in zip(("xmin", "ymin", "xmax", "ymax"), b.xyxy, strict=True):
            ET.SubElement(bb, k).text = str(v + 1)
    ET.indent(root, " ")
    return ET.tostring(root)


def semantic_mask(ids: np.ndarray, instances: list[Instance]) -> Image.Image:
    """Paletted image of Cityscapes train ids."""
    table = np.full(int(max(ids.max(), FIRST_INSTANCE + len(instances))) + 1, IGNORE, np.uint8)
    table[0] = SKY
    table[1 : SKY + 1] = np.arange(SKY)
    for inst in instances:
        table[inst.index] = TRAIN_ID[inst.name]
    return _paletted(table[ids], PALETTE)


def instance_mask(ids: np.ndarray, found: list[Box]) -> Image.Image:
    """Paletted image whose value k is the k-th object of the XML (0 is everything else)."""
    out = np.zeros(ids.shape, np.uint8)
    for k, b in enumerate(found, 1):
        out[ids == b.index] = k
    rng = np.random.default_rng(0)
    return _paletted(out, [(0, 0, 0), *(tuple(int(v) for v in rng.integers(60, 255, 3)) for _ in range(254))])


def _paletted(values: np.ndarray, palette: list[tuple[int, int, int]]) -> Image.Image:
    image = Image.fromarray(values, "P")
    flat = [v for c in palette for v in c]
    image.putpalette(flat + [0] * (768 - len(flat)))
    return image
