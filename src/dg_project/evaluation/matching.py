r"""Match detections of one domain with ground truth, by the VOC or the COCO rule.

The rules differ in three points:

===================  ==========================================  ==============================================
\                    VOC (``mAP@50``)                            COCO (``mAP``)
===================  ==========================================  ==============================================
a detection gets     the box it overlaps most; a second one on   the free box it overlaps most, best score first
                     the same box is false
difficult boxes      any number of detections on one counts      one detection on one counts neither way, a
                     neither way                                 second one is false
per image and class  every detection                             the 100 with the best scores
===================  ==========================================  ==============================================

A difficult box is never a miss. Nor is a box of an ignored class, and detections of all classes that lie on it and
are not correct count neither way, any number of them: by at least half of their own area for VOC, by pycocotools' rule
for crowds for COCO. Boxes are continuous (x1, y1 exclusive), so no pixel is added to widths, and a
detection is correct if IoU >= threshold.
"""

from __future__ import annotations

import contextlib
import io
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

VOC_IOU = 0.5
COCO_IOUS = np.linspace(0.5, 0.95, 10)
COCO_MAX_DETECTIONS = 100


@dataclass(frozen=True)
class ClassMatches:
    """Detections of one class in one domain, best score first (T thresholds, D detections, N images)."""

    image: NDArray[np.int64]
    """(D,) image index of each detection."""
    true: NDArray[np.bool_]
    """(T, D) whether the detection is a true positive."""
    ignored: NDArray[np.bool_]
    """(T, D) whether the detection matches a difficult box and counts neither way."""
    positives: NDArray[np.int64]
    """(N,) number of labelled boxes per image, difficult ones excluded."""


@dataclass(frozen=True)
class Matchable:
    """Labels and detections of one image; negative labels are ignored classes.

    Shapes are boxes, a float array (n, 4) of x, y, width, height, or masks, an object array (n,) of pycocotools' RLEs.
    """

    truth: NDArray[Any]
    truth_labels: NDArray[np.int64]
    difficult: NDArray[np.bool_]
    found: NDArray[Any]
    found_labels: NDArray[np.int64]
    scores: NDArray[np.float64]


def match_images(images: list[Matchable], n_classes: int, rule: str) -> list[ClassMatches]:
    """Match the detections of one domain.

    Args:
        images: images of the domain.
        n_classes: number of classes; labels are 1..n_classes.
        rule: ``voc`` (IoU .5) or ``coco`` (IoU .5, .55, ..., .95).

    Returns:
        One entry per class; image indices follow ``images``.
    """
    return {"voc": _voc, "coco": _coco}[rule](images, n_classes)


def overlap(found: NDArray[Any], truth: NDArray[Any], ignored: bool = False) -> NDArray[np.float64]:
    """Return the IoU (D, G) of shapes as in ``Matchable``; if ``ignored``, the share of ``found`` inside ``truth``."""
    shapes = [part if part.ndim > 1 else part.tolist() for part in (found, truth)]
    return np.asarray(coco_mask.iou(*shapes, [int(ignored)] * len(truth)))


def xywh(boxes: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return x, y, width, height of boxes (n, 4) given by their corners."""
    return np.concatenate([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], axis=1)


def _voc(images: list[Matchable], n_classes: int) -> list[ClassMatches]:
    matched = []
    for label in range(1, n_classes + 1):
        parts = [_voc_image(image, label) for image in images]
        index = np.concatenate([np.full(len(part[0]), i) for i, part in enumerate(parts)])
        scores, true, ignored = (np.concatenate([part[k] for part in parts]) for k in range(3))
        positives = np.array([np.sum((im.truth_labels == label) & ~im.difficult) for im in images])
        matched.append(_sorted(scores, index, true[None].astype(bool), ignored[None].astype(bool), positives))
    return matched


def _voc_image(image: Matchable, label: int) -> tuple[NDArray[np.float64], NDArray[np.bool_], NDArray[np.bool_]]:
    """Return scores, true and ignored, each (D,), of one class in one image."""
    found, truth = image.found_labels == label, image.truth_labels == label
    order = np.argsort(-image.scores[found], kind="stable")
    scores, difficult = image.scores[found][order], image.difficult[truth]
    true, ignored = np.zeros(len(scores), bool), np.zeros(len(scores), bool)
    if len(scores) and len(difficult):
        true, ignored, _ = voc_rule(overlap(image.found[found][order], image.truth[truth]), difficult)
    if len(scores) and (regions := image.truth_labels < 0).any():
        inside = overlap(image.found[found][order], image.truth[regions], ignored=True)
        ignored |= ~true & (inside.max(axis=1) >= VOC_IOU)
    return scores, true, ignored


def voc_rule(iou: NDArray[np.float64],
             difficult: NDArray[np.bool_]) -> tuple[NDArray[np.bool_], NDArray[np.bool_], NDArray[np.int64]]:
    """Return true, ignored and box, each (D,), of detections of one class, best score first.

    Args:
        iou: (D, G) with the labelled boxes of the class, G >= 1.
        difficult: (G,).
    """
    box, hit = iou.argmax(axis=1), iou.max(axis=1) >= VOC_IOU
    ignored = hit & difficult[box]
    candidates = np.flatnonzero(hit & ~ignored)
    true = np.zeros(len(iou), bool)
    true[candidates[np.unique(box[candidates], return_index=True)[1]]] = True
    return true, ignored, box


def _coco(images: list[Matchable], n_classes: int) -> list[ClassMatches]:
    with contextlib.redirect_stdout(io.StringIO()):  # pycocotools prints its progress
        boxes = all(image.truth.ndim > 1 for image in images)
        evaluator = COCOeval(*_coco_tables(images, n_classes), iouType="bbox" if boxes else "segm")
        evaluator.params.iouThrs = COCO_IOUS
        evaluator.params.areaRng, evaluator.params.areaRngLbl = [[0, 1e10]], ["all"]
        evaluator.params.maxDets = [COCO_MAX_DETECTIONS]
        evaluator.evaluate()
    none = np.zeros((len(COCO_IOUS), 0))
    empty: dict[str, Any] = {"dtScores": [], "dtMatches": none, "dtIgnore": none, "gtIgnore": np.zeros(0)}
    per_image: list[dict[str, Any]] = [entry or empty for entry in evaluator.evalImgs]
    matched = []
    for k in range(n_classes):
        entries = per_image[k * len(images):(k + 1) * len(images)]
        index = np.concatenate([np.full(len(entry["dtScores"]), i) for i, entry in enumerate(entries)])
        scores = np.concatenate([entry["dtScores"] for entry in entries])
        ignored = np.concatenate([entry["dtIgnore"] for entry in entries], axis=1).astype(bool)
        true = np.concatenate([entry["dtMatches"] for entry in entries], axis=1).astype(bool) & ~ignored
        matched.append(_sorted(scores, index, true, ignored,
                               np.array([np.sum(entry["gtIgnore"] == 0) for entry in entries])))
    return matched


def _coco_tables(images: list[Matchable], n_classes: int) -> tuple[COCO, COCO]:
    """Return ground truth and detections as COCO tables; ids start at 1 because id 0 means 'no match' in COCOeval."""
    truth: list[dict[str, Any]] = []
    found: list[dict[str, Any]] = []
    for i, image in enumerate(images):
        for shape, label, difficult in zip(image.truth, image.truth_labels, image.difficult, strict=True):
            for category in range(1, n_classes + 1) if label < 0 else [label]:
                entry = _entry(shape, len(truth) + 1, i, category)
                if label < 0:
                    entry["iscrowd"] = 1
                elif difficult:
                    # COCOeval ignores a box whose area is out of range; iscrowd would change its IoU and match many.
                    entry["area"] = -1.0
                truth.append(entry)
        for shape, label, score in zip(image.found, image.found_labels, image.scores, strict=True):
            found.append({**_entry(shape, len(found) + 1, i, label), "score": float(score)})
    tables = []
    for boxes in (truth, found):
        table = COCO()
        table.dataset = {"images": [{"id": i, **_size(image)} for i, image in enumerate(images)], "annotations": boxes,
                         "categories": [{"id": k} for k in range(1, n_classes + 1)]}
        table.createIndex()
        tables.append(table)
    return tables[0], tables[1]


def _size(image: Matchable) -> dict[str, int]:
    """Return height and width, which pycocotools needs for masks."""
    masks = [shape for shape in (*image.truth, *image.found) if isinstance(shape, dict)]
    return dict(zip(("height", "width"), masks[0]["size"], strict=True)) if masks else {}


def _entry(shape: Any, number: int, image: int, label: Any) -> dict[str, Any]:
    entry = {"id": number, "image_id": image, "category_id": int(label), "iscrowd": 0}
    if isinstance(shape, dict):
        return {**entry, "segmentation": shape, "area": float(coco_mask.area(shape))}
    return {**entry, "bbox": shape.tolist(), "area": max(float(shape[2] * shape[3]), 0.0)}


def _sorted(scores: NDArray[Any], index: NDArray[Any], true: NDArray[np.bool_], ignored: NDArray[np.bool_],
            positives: NDArray[np.int64]) -> ClassMatches:
    order = np.argsort(-np.asarray(scores, float), kind="stable")
    return ClassMatches(index[order].astype(np.int64), true[:, order], ignored[:, order], positives)
