r"""Which detections are right: ground truth and detections of one domain, matched by the VOC or the COCO rule.

Both rules see the same boxes and differ in three points.

===================  ==========================================  ==============================================
\                    VOC (``mAP@50``)                            COCO (``mAP``)
===================  ==========================================  ==============================================
a detection takes    the box it overlaps most; a second one on   the free box it overlaps most, best score first
                     the same box is false
difficult boxes      any number of detections on one counts      one detection on one counts neither way, a
                     neither way                                 second one is false
per image and class  every detection                             the 100 with the best scores
===================  ==========================================  ==============================================

A difficult box is never a miss. Boxes are continuous (x1, y1 exclusive), so no pixel is added to widths, and a
detection is right from IoU >= threshold on.
"""

from __future__ import annotations

import contextlib
import io
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from dg_project.evaluation.predictions import as_boxes, as_vector

VOC_IOU = 0.5
COCO_IOUS = np.linspace(0.5, 0.95, 10)
COCO_MAX_DETECTIONS = 100


@dataclass(frozen=True)
class ClassMatches:
    """Detections of one class in one domain, best score first (T thresholds, D detections, N images)."""

    image: NDArray[np.int64]
    """(D,) index of the image that the detection is in."""
    true: NDArray[np.bool_]
    """(T, D) the detection found a box of its own."""
    ignored: NDArray[np.bool_]
    """(T, D) the detection lies on a difficult box and counts neither way."""
    positives: NDArray[np.int64]
    """(N,) boxes to be found in each image, difficult ones not among them."""


@dataclass(frozen=True)
class _Image:
    """Boxes of one image as x, y, width, height."""

    truth: NDArray[np.float64]
    truth_labels: NDArray[np.int64]
    difficult: NDArray[np.bool_]
    found: NDArray[np.float64]
    found_labels: NDArray[np.int64]
    scores: NDArray[np.float64]


def match_domain(predictions: pd.DataFrame, manifest: pd.DataFrame, n_classes: int, rule: str) -> list[ClassMatches]:
    """Match the detections of one domain.

    Args:
        predictions: rows of one model and one domain.
        manifest: rows of the same domain; the images of both tables are the same.
        n_classes: labels are 1..n_classes.
        rule: ``voc`` (IoU .5) or ``coco`` (IoU .5, .55, ..., .95).

    Returns:
        One entry per class; images are indexed in the order of their sorted ids.
    """
    truth, found = _columns(manifest, "difficult"), _columns(predictions, "scores")
    images = [_image(*truth[image_id], *found[image_id]) for image_id in sorted(truth)]
    match = {"voc": _voc, "coco": _coco}[rule]
    return match(images, n_classes)


def _columns(rows: pd.DataFrame, last: str) -> dict[str, list[Any]]:
    """Return image id -> boxes, labels and the column named ``last``."""
    columns = (rows["boxes"], rows["labels"], rows[last])
    return {str(image_id): values for image_id, *values in zip(rows["image_id"], *columns, strict=True)}


def _image(boxes: Any, labels: Any, difficult: Any, found: Any, found_labels: Any, scores: Any) -> _Image:
    return _Image(_xywh(as_boxes(boxes)), as_vector(labels, np.int64), as_vector(difficult, np.bool_),
                  _xywh(as_boxes(found)), as_vector(found_labels, np.int64), as_vector(scores))


def _xywh(boxes: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.concatenate([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], axis=1)


def _voc(images: list[_Image], n_classes: int) -> list[ClassMatches]:
    matched = []
    for label in range(1, n_classes + 1):
        parts = [_voc_image(image, label) for image in images]
        index = np.concatenate([np.full(len(part[0]), i) for i, part in enumerate(parts)])
        scores, true, ignored = (np.concatenate([part[k] for part in parts]) for k in range(3))
        positives = np.array([np.sum((im.truth_labels == label) & ~im.difficult) for im in images])
        matched.append(_sorted(scores, index, true[None].astype(bool), ignored[None].astype(bool), positives))
    return matched


def _voc_image(image: _Image, label: int) -> tuple[NDArray[np.float64], NDArray[np.bool_], NDArray[np.bool_]]:
    """Return scores, true and ignored, each (D,), of one class in one image."""
    mine, theirs = image.found_labels == label, image.truth_labels == label
    order = np.argsort(-image.scores[mine], kind="stable")
    scores, difficult = image.scores[mine][order], image.difficult[theirs]
    true = np.zeros(len(scores), bool)
    if not len(scores) or not len(difficult):
        return scores, true, true.copy()
    overlap = np.asarray(coco_mask.iou(image.found[mine][order], image.truth[theirs], [0] * len(difficult)))
    box, hit = overlap.argmax(axis=1), overlap.max(axis=1) >= VOC_IOU
    ignored = hit & difficult[box]
    candidates = np.flatnonzero(hit & ~ignored)
    first = np.unique(box[candidates], return_index=True)[1]
    true[candidates[first]] = True
    return scores, true, ignored


def _coco(images: list[_Image], n_classes: int) -> list[ClassMatches]:
    with contextlib.redirect_stdout(io.StringIO()):  # pycocotools reports its progress by print
        evaluator = COCOeval(*_coco_tables(images, n_classes), iouType="bbox")
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


def _coco_tables(images: list[_Image], n_classes: int) -> tuple[COCO, COCO]:
    """Return ground truth and detections as COCO tables; ids start at 1, for COCOeval takes id 0 for 'no match'."""
    truth: list[dict[str, Any]] = []
    found: list[dict[str, Any]] = []
    for i, image in enumerate(images):
        for box, label, difficult in zip(image.truth, image.truth_labels, image.difficult, strict=True):
            # COCOeval ignores a box whose area is outside the range; iscrowd would change its IoU and swallow many.
            area = -1.0 if difficult else float(box[2] * box[3])
            truth.append({"id": len(truth) + 1, "image_id": i, "category_id": int(label), "bbox": box.tolist(),
                          "area": area, "iscrowd": 0})
        for box, label, score in zip(image.found, image.found_labels, image.scores, strict=True):
            found.append({"id": len(found) + 1, "image_id": i, "category_id": int(label), "bbox": box.tolist(),
                          "area": max(float(box[2] * box[3]), 0.0), "iscrowd": 0, "score": float(score)})
    tables = []
    for boxes in (truth, found):
        table = COCO()
        table.dataset = {"images": [{"id": i} for i in range(len(images))], "annotations": boxes,
                         "categories": [{"id": k} for k in range(1, n_classes + 1)]}
        table.createIndex()
        tables.append(table)
    return tables[0], tables[1]


def _sorted(scores: NDArray[Any], index: NDArray[Any], true: NDArray[np.bool_], ignored: NDArray[np.bool_],
            positives: NDArray[np.int64]) -> ClassMatches:
    order = np.argsort(-np.asarray(scores, float), kind="stable")
    return ClassMatches(index[order].astype(np.int64), true[:, order], ignored[:, order], positives)
