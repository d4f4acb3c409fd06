"""Write finished predictions as COCO JSON, CSV, drawn images or video, and masks."""

from __future__ import annotations

import csv
import json
from collections import Counter
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import IO, Any

import numpy as np
from PIL import Image
from pycocotools import mask as coco_mask

from dg_project.core.extras import av
from dg_project.core.files import link_or_copy
from dg_project.evaluation.segmentation import unpack_mask
from dg_project.predict.inputs import Video
from dg_project.predict.prediction import PredictionRun, drawn_path, mask_path

Row = dict[str, Any]
MOST_PROBLEMS = 100
"""Most skipped images that the summary names; all are counted."""


def write_predictions(predicted: PredictionRun, target: Path) -> None:
    """Write every format of the run into a folder, row by row; files of the same names are replaced."""
    if "csv" in predicted.formats:
        _write_csv(predicted, target / "predictions.csv")
    if "coco" in predicted.formats:
        _write_coco(predicted, target / "coco.json")
    if "drawn" in predicted.formats and isinstance(predicted.source, Video):
        _write_video(predicted, predicted.source, target / "drawn.mp4")
    elif "drawn" in predicted.formats:
        _publish(predicted, drawn_path, target)
    if "masks" in predicted.formats:
        _publish(predicted, mask_path, target)


def summary(predicted: PredictionRun) -> dict[str, Any]:
    """Return counts: images, skipped images with their reasons, and predictions by class."""
    found: Counter[str] = Counter()
    problems: list[str] = []
    images, skipped, empty = 0, 0, 0
    for row in predicted.rows():
        images += 1
        if row["problem"]:
            skipped += 1
            problems += [row["problem"]] if len(problems) < MOST_PROBLEMS else []
            continue
        names = _found(row, predicted.spec.classes)
        empty += not names
        found.update(names)
    return {"input": str(predicted.source.path), "kind": predicted.source.kind, "task": predicted.spec.task,
            "method": predicted.spec.method, "formats": list(predicted.formats), "images": images, "skipped": skipped,
            "images_without_finds": empty, "found": dict(found.most_common()), "problems": problems}


def _found(row: Row, classes: list[str]) -> list[str]:
    """Return the classes of an image's detections, of its pixels (each class once), or of the image."""
    if "mask" in row:
        return [classes[int(k)] for k in np.unique(unpack_mask(row["mask"]))]
    if "probabilities" in row:
        return [classes[int(np.argmax(row["probabilities"]))]]
    return [classes[int(label) - 1] for label in row["labels"]]


def _seen(predicted: PredictionRun) -> Iterator[Row]:
    return (row for row in predicted.rows() if not row["problem"])


def _write_csv(predicted: PredictionRun, target: Path) -> None:
    """Write one line per detection, or per image with the probability of every class."""
    classes, labels = predicted.spec.classes, predicted.spec.task == "classification"
    where = ["image", "seconds"] if isinstance(predicted.source, Video) else ["image"]
    with target.open("w", newline="", encoding="utf-8") as stream:
        out = csv.writer(stream)
        out.writerow([*where, "class", *(classes if labels else ["score", "x0", "y0", "x1", "y1"])])
        for row in _seen(predicted):
            start = [row["name"], f"{row['seconds']:.3f}"][:len(where)]
            if labels:
                out.writerow([*start, *_found(row, classes), *(f"{p:.6f}" for p in row["probabilities"])])
            else:
                out.writerows([*start, classes[int(label) - 1], f"{score:.6f}", *(f"{side:.2f}" for side in box)]
                              for label, score, box in zip(row["labels"], row["scores"], row["boxes"], strict=True))


def _write_coco(predicted: PredictionRun, target: Path) -> None:
    """Write a COCO file with images and categories, whose annotations have a ``score``."""
    categories = [{"id": k, "name": name} for k, name in enumerate(predicted.spec.classes, start=1)]
    with target.open("w", encoding="utf-8") as stream:
        stream.write('{"categories": ' + json.dumps(categories) + ', "images": [')
        _items(stream, ({"id": k, "file_name": row["name"], "width": row["width"], "height": row["height"]}
                        for k, row in enumerate(_seen(predicted), start=1)))
        stream.write('], "annotations": [')
        _items(stream, ({"id": number, **annotation} for number, annotation in enumerate(_annotations(predicted), 1)))
        stream.write("]}\n")


def _items(stream: IO[str], items: Iterator[dict[str, Any]]) -> None:
    for k, item in enumerate(items):
        stream.write((",\n" if k else "\n") + json.dumps(item))


def _annotations(predicted: PredictionRun) -> Iterator[dict[str, Any]]:
    for image, row in enumerate(_seen(predicted), start=1):
        for k, (box, label, score) in enumerate(zip(row["boxes"], row["labels"], row["scores"], strict=True)):
            x0, y0, x1, y1 = (float(side) for side in box)
            found = {"image_id": image, "category_id": int(label), "bbox": [x0, y0, x1 - x0, y1 - y0],
                     "area": (x1 - x0) * (y1 - y0), "iscrowd": 0, "score": float(score)}
            if "masks" in row:
                mask = {"size": [row["height"], row["width"]], "counts": row["masks"][k]}
                found |= {"segmentation": mask, "area": float(coco_mask.area(mask))}
            yield found


def _publish(predicted: PredictionRun, path: Any, target: Path) -> None:
    for row in _seen(predicted):
        made = path(predicted.folder, row["name"])
        place = target / made.relative_to(predicted.folder)
        place.unlink(missing_ok=True)
        link_or_copy(made, place)


def _write_video(predicted: PredictionRun, source: Video, target: Path) -> None:
    """Join the drawn frames at the speed of the video: H.264 if PyAV supports it, else MPEG-4."""
    library = av()
    codec = "libx264" if "libx264" in library.codecs_available else "mpeg4"
    with library.open(str(target), "w") as container:
        stream = container.add_stream(codec, rate=Fraction(source.rate) / source.every)
        stream.pix_fmt = "yuv420p"
        for k, row in enumerate(_seen(predicted)):
            with Image.open(drawn_path(predicted.folder, row["name"])) as image:
                frame = library.VideoFrame.from_ndarray(np.asarray(image.convert("RGB")), format="rgb24")
            if k == 0:  # even sizes: yuv420p halves the chroma planes
                stream.width, stream.height = frame.width // 2 * 2, frame.height // 2 * 2
            container.mux(stream.encode(frame.reformat(stream.width, stream.height, "yuv420p")))
        container.mux(stream.encode(None))
