"""Parts of the data card that show wrong labels: pixels of masks by class, sides of boxes, copies over splits."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd


def mask_counts(rows: pd.DataFrame) -> dict[str, dict[str, list[int]]]:
    """Return ``mask_pixels``: class -> [pixels, images that have some]; {} without masks or in older manifests."""
    if "mask_pixels" not in rows or not (rows["mask"] != "").any():
        return {"mask_pixels": {}}
    masked = rows[rows["mask"] != ""]
    names: list[str] = json.loads(masked["mask_classes"].iloc[0])
    longest = max([len(names), *(len(row) for row in masked["mask_pixels"])])
    pixels, images = np.zeros(longest, np.int64), np.zeros(longest, np.int64)
    for row in masked["mask_pixels"]:
        own = np.asarray(row, np.int64)
        pixels[:len(own)] += own
        images[:len(own)] += own > 0
    names += [f"train id {k}" for k in range(len(names), longest)]
    return {"mask_pixels": {name: [int(n), int(m)] for name, n, m in zip(names, pixels, images, strict=True)}}


def box_extents(rows: pd.DataFrame, classes: list[str]) -> dict[str, dict[str, list[float]]]:
    """Return ``box_sides_per_class``: class -> [smallest, largest side] in pixels, for classes that have boxes."""
    sides: dict[str, list[float]] = {}
    for boxes, labels in zip(rows["boxes"], rows["labels"], strict=True):
        for (x0, y0, x1, y1), label in zip(boxes, labels, strict=True):
            if label < 0:  # of an ignored class
                continue
            own = sides.setdefault(classes[int(label) - 1], [np.inf, 0.0])
            own[:] = [min(own[0], x1 - x0, y1 - y0), max(own[1], x1 - x0, y1 - y0)]
    return {"box_sides_per_class": {name: [round(float(side), 1) for side in sides[name]]
                                    for name in classes if name in sides}}


def pixel_formats(rows: pd.DataFrame) -> dict[str, dict[str, int]]:
    """Return ``pixel_formats``: channels and depth -> images; {} for older manifests."""
    counts = Counter(map(str, rows["pixel_format"] if "pixel_format" in rows else []))
    return {"pixel_formats": dict(counts.most_common())}


def copies(manifest: pd.DataFrame) -> Iterator[str]:
    """Yield one warning per two splits that hold files with the same bytes, and per split with copies in itself."""
    known = manifest[manifest["sha256"].astype(str) != ""]
    twice = known[known.duplicated("sha256", keep=False)]
    splits = {f"{domain}/{split}": dict(zip(rows["sha256"], rows["image"], strict=True)) | {"": len(rows)}
              for (domain, split), rows in twice.groupby(["domain", "split"], sort=False)}
    for (first, ours), (second, theirs) in combinations(splits.items(), 2):
        if both := [key for key in ours if key and key in theirs]:
            yield (f"{len(both)} images of {second} have the same bytes as images of {first}, such as "
                   f"'{theirs[both[0]]}' and '{ours[both[0]]}': scores on them say nothing about unseen images")
    for name, images in splits.items():
        if (extra := images[""] - (len(images) - 1)) > 0:
            yield f"{extra} images of {name} are copies of others in it"


def pixel_lines(entries: list[dict[str, Any]]) -> list[str]:
    """Return what the image files store: one line if it is the same everywhere, else one per split."""
    found = {f"{entry['domain']}/{entry['split']}": entry["pixel_formats"] for entry in entries
             if entry.get("pixel_formats")}
    formats = {name for counts in found.values() for name in counts}
    if len(formats) == 1:
        return [f"pixels of all images: {formats.pop()}"]
    return [f"pixels of {where}: {', '.join(f'{count} {name}' for name, count in counts.items())}"
            for where, counts in found.items()]


def label_lines(entry: dict[str, Any], sides: bool) -> list[str]:
    """Return the lines of a split about images without a label, and about the sides of boxes by class."""
    where, lines = f"{entry['domain']}/{entry['split']}", []
    if entry.get("images_without_boxes") and entry["boxes"]:
        lines.append(f"no box in {entry['images_without_boxes']} of {entry['images']} images of {where}")
    if sides and entry.get("box_sides_per_class"):
        shown = ", ".join(f"{name} {low:g} to {high:g}" for name, (low, high) in entry["box_sides_per_class"].items())
        lines.append(f"sides of boxes in {where}, pixels: {shown}")
    return lines


def mask_lines(entry: dict[str, Any]) -> list[str]:
    """Return the lines of a split about its masks: the share of pixels of each class, and classes without a pixel."""
    counts = entry.get("mask_pixels") or {}
    total = sum(pixels for pixels, _ in counts.values())
    where = f"{entry['domain']}/{entry['split']}"
    if not total:
        return []
    shown = ", ".join(f"{name} {pixels / total:.1%} in {images}" for name, (pixels, images) in counts.items() if images)
    absent = [name for name, (_, images) in counts.items() if not images]
    return [f"mask pixels of {where} (share, images): {shown}",
            *([f"no pixel of {', '.join(absent)} in {where}"] if absent else [])]
