"""The data card: counts of the ingested data, to notice a wrong path or class map before training."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from dg_project.core.errors import DataError
from dg_project.data.card_notes import (
    box_extents,
    copies,
    label_lines,
    mask_counts,
    mask_lines,
    pixel_formats,
    pixel_lines,
)
from dg_project.data.manifest import manifest_fingerprint

MOST_COLUMNS = 12
"""More classes than this are not counted in a table."""
WIDTH = 80
"""Most characters of a line of the tables."""


def data_card(manifest: pd.DataFrame, classes: list[str], skipped: list[str], ignore_classes: Sequence[str] = (),
              warnings: Sequence[str] = (), left_aside: Sequence[str] = ()) -> dict[str, Any]:
    """Count images and boxes per domain and split.

    Args:
        manifest: rows of any number of domains.
        classes: class names; label i is ``classes[i - 1]``.
        skipped: messages of the skipped samples.
        ignore_classes: names of the ignored classes; label -k is ``ignore_classes[k - 1]``.
        warnings: what the readers noticed; copies over splits are added.
        left_aside: files next to the data that were not read.

    Returns:
        A JSON-able dict: ``classes``, ``ignore_classes``, ``skipped``, ``warnings``, ``left_aside``, ``fingerprint``
        and ``splits``, a list with one entry per domain and split: domain, role, split, images, images_without_boxes,
        boxes, difficult, boxes_per_class (difficult ones counted), ignored_per_class, sizes ("WxH" -> images), box_side
        (5th, 50th and 95th percentile of the square root of the area, pixels), masks (images with a semantic mask),
        instances (images with instance masks), fingerprint (of images, boxes, masks and classes), and ``mask_pixels``,
        ``box_sides_per_class`` and ``pixel_formats`` of ``card_notes``. Only ``ignored_per_class`` counts boxes of ignored classes.
    """
    splits = [_entry(rows, classes, ignore_classes, domain, split)
              for (domain, split), rows in manifest.groupby(["domain", "split"], sort=False)]
    return {"classes": list(classes), "ignore_classes": list(ignore_classes), "skipped": list(skipped),
            "warnings": [*warnings, *copies(manifest)], "left_aside": list(left_aside),
            "fingerprint": manifest_fingerprint(manifest), "splits": splits}


def check_classes(card: dict[str, Any]) -> list[str]:
    """Return a warning per class that targets show and the training split of the source does not.

    Raises:
        DataError: no domain has a box of a class of ``classes`` or ``ignore_classes``, but there are boxes of others.
    """
    held: dict[str, Counter[str]] = {"classes": Counter(), "ignore_classes": Counter()}
    for entry in card["splits"]:
        held["classes"].update(entry["boxes_per_class"])
        held["ignore_classes"].update(entry["ignored_per_class"])
    if not any(counts.total() for counts in held.values()):
        return []  # masks only
    for key, counts in held.items():
        if absent := [name for name in card[key] if not counts[name]]:
            raise DataError(f"data.{key}: no domain has a box of {', '.join(map(repr, absent))}; correct the spelling "
                            "(the log names the classes of the boxes that were skipped), map the data set's name with "
                            "data.rename, or remove it there")
    trained = Counter[str]()
    for entry in card["splits"]:
        if (entry["role"], entry["split"]) == ("source", "train"):
            trained.update(entry["boxes_per_class"])
    return [f"the training images have no box of '{name}', so no method can learn it, and its score in a domain that "
            "has such boxes will be 0" for name in card["classes"] if not trained[name]]


def unlabelled_card(adapt: pd.DataFrame, target: pd.DataFrame, skipped: list[str]) -> dict[str, Any]:
    """Count the unlabelled images of every target domain.

    Args:
        adapt: rows of the unlabelled images.
        target: rows of the target test images.
        skipped: messages of the skipped samples.

    Returns:
        A JSON-able dict: ``images`` (domain -> number), ``skipped`` and ``fingerprint``.

    Raises:
        DataError: an image is in both.
    """
    scored = set(zip(target["domain"], target["image_id"], strict=True))
    if both := [pair for pair in zip(adapt["domain"], adapt["image_id"], strict=True) if pair in scored]:
        raise DataError(f"the image '{both[0][1]}' of '{both[0][0]}' is in both the adapt split and the test split "
                        f"({len(both)} such images); choose a data.adapt_split that shares no image with the test "
                        "split of the targets")
    tested = dict(zip(target["sha256"], target["image"], strict=True))
    if same := [(name, tested[key]) for name, key in zip(adapt["image"], adapt["sha256"], strict=True)
                if key and key in tested]:
        raise DataError(f"the adapt image '{same[0][0]}' has the same bytes as the test image '{same[0][1]}' "
                        f"({len(same)} such images); take the copies out of data.adapt_split")
    counts = {str(domain): int(count) for domain, count in adapt.groupby("domain", sort=False).size().items()}
    return {"images": counts, "skipped": list(skipped), "fingerprint": manifest_fingerprint(adapt)}


def _entry(rows: pd.DataFrame, classes: list[str], ignored: Sequence[str], domain: Any, split: Any) -> dict[str, Any]:
    labels = Counter(int(label) for row in rows["labels"] for label in row)
    columns = zip(rows["boxes"], rows["labels"], rows["difficult"], strict=True)
    known = [(box, hard) for row in columns for box, label, hard in zip(*row, strict=True) if label > 0]
    sides = pd.Series([((x1 - x0) * (y1 - y0)) ** 0.5 for (x0, y0, x1, y1), _ in known], dtype=float)
    sizes = Counter(f"{width}x{height}" for width, height in zip(rows["width"], rows["height"], strict=True))
    return {
        "domain": str(domain), "role": str(rows["role"].iloc[0]), "split": str(split), "images": len(rows),
        "images_without_boxes": sum(not any(label > 0 for label in row) for row in rows["labels"]), "boxes": len(known),
        "difficult": sum(bool(hard) for _, hard in known),
        "boxes_per_class": {name: labels[index] for index, name in enumerate(classes, start=1)},
        "ignored_per_class": {name: labels[-k] for k, name in enumerate(ignored, start=1)},
        "sizes": dict(sizes.most_common()),
        "box_side": [round(float(q), 1) for q in sides.quantile([0.05, 0.5, 0.95])] if len(sides) else [],
        "masks": sum(bool(path) for path in rows["mask"]),
        "instances": sum(bool(path) for path in rows["instances"]), "fingerprint": manifest_fingerprint(rows),
        **mask_counts(rows), **box_extents(rows, classes), **pixel_formats(rows),
    }


def card_rows(card: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the entries of the card with ``size`` (the most common one) and ``side`` (percentiles) as text."""
    return [{**entry, "size": _sizes(entry["sizes"]), "side": "/".join(f"{q:.0f}" for q in entry["box_side"])}
            for entry in card["splits"]]


def card_notes(card: Mapping[str, Any], *, masks: bool = True) -> list[str]:
    """Return the lines below the table: missing classes, ignored boxes, masks, files left aside, skipped samples."""
    wide = len(card["classes"]) <= MOST_COLUMNS
    lines = [line for entry in card["splits"]
             for line in (*_about_classes(entry, wide), *label_lines(entry, wide),
                          *(mask_lines(entry) if masks else []))]
    lines += [*pixel_lines(card["splits"]), *card.get("left_aside", [])]
    if card["skipped"]:
        lines += [f"{len(card['skipped'])} sample(s) skipped:", *(f"  {reason}" for reason in card["skipped"][:10])]
        lines += ["  …"] if len(card["skipped"]) > 10 else []
    return lines


def format_card(card: dict[str, Any]) -> str:
    """Format the card as plain text: warnings, tables of counts, missing classes, ignored boxes, skipped samples.

    With many classes, a line per split names the rarest and the most frequent class instead of one column per class.
    """
    wide, splits = len(card["classes"]) <= MOST_COLUMNS, card_rows(card)
    names = ["images", "boxes", "difficult", *(key for key in ("masks", "instances") if any(e[key] for e in splits))]
    where = [["domain", *(entry["domain"] for entry in splits)], ["split", *(entry["split"] for entry in splits)]]
    counts = [[name, *(str(entry[name]) for entry in splits)] for name in names]
    counts += [["size", *(entry["size"] for entry in splits)], ["side 5/50/95 %", *(entry["side"] for entry in splits)]]
    held = [[name, *(str(entry["boxes_per_class"][name]) for entry in splits)] for name in card["classes"]]
    lines = [*_tables(where, counts), *(["", "boxes by class", *_tables(where, held)] if wide else [])]
    return "\n".join([*(f"WARNING {text}" for text in card.get("warnings", [])), *lines, *card_notes(card)])


def _tables(where: list[list[str]], columns: list[list[str]]) -> list[str]:
    """Return tables of the columns, each with the columns ``where`` before it and as many as fit into 80 characters."""
    lines: list[str] = []
    shown = [*where]
    for column in columns:
        if len(shown) > len(where) and _width([*shown, column]) > WIDTH:
            lines, shown = [*lines, *_table(shown, len(where)), ""], [*where]
        shown.append(column)
    return [*lines, *_table(shown, len(where))]


def _table(columns: list[list[str]], left: int) -> list[str]:
    """Return the lines of a table; the first columns are aligned to the left."""
    widths = [max(map(len, column)) for column in columns]
    rows = [*zip(*columns, strict=True)]
    rows.insert(1, tuple("-" * width for width in widths))
    return ["  ".join(f"{cell:<{width}}" if k < left else f"{cell:>{width}}"
                      for k, (cell, width) in enumerate(zip(row, widths, strict=True))) for row in rows]


def _width(columns: list[list[str]]) -> int:
    return sum(max(map(len, column)) + 2 for column in columns) - 2


def _about_classes(entry: dict[str, Any], wide: bool) -> list[str]:
    """Name the classes without boxes, the ignored boxes, and with many classes the rarest and the most frequent one."""
    where, counts = f"{entry['domain']}/{entry['split']}", entry["boxes_per_class"]
    held = sorted((count, name) for name, count in counts.items() if count)
    lines = []
    if absent := [name for name, count in counts.items() if not count]:
        lines.append(f"no box of {', '.join(absent)} in {where}")
    if ignored := {name: count for name, count in entry.get("ignored_per_class", {}).items() if count}:
        lines.append(f"ignored in {where}: {', '.join(f'{count} {name}' for name, count in ignored.items())}")
    if held and not wide:
        lines.append(f"{where}: {len(held)} classes, from {held[0][0]} boxes ({held[0][1]}) to {held[-1][0]} "
                     f"({held[-1][1]})")
    return lines


def _sizes(sizes: dict[str, int]) -> str:
    """Return the most common size and the number of others."""
    first, *others = sizes
    return f"{first} (+{len(others)})" if others else first
