"""Crop the objects of Streets into image folders ``<domain>/<class>/<image>``.

Run ``python -m dg_project.pretraining.street_crops --out FOLDER``.

Streets shows each layout in several domains. Here each layout is cropped in only one of them, so that no object of a
left-out domain appears elsewhere in another weather.
"""

from __future__ import annotations

import argparse
import logging
import re
import sys
from collections import Counter
from pathlib import Path

import pandas as pd

from dg_project.config import ClassificationParams
from dg_project.core.errors import DataError, exit_status
from dg_project.core.files import atomic_folder, inside
from dg_project.data.images import open_image
from dg_project.data.objects import objects
from dg_project.data.readers import read_domain
from dg_project.data.readers.folders import folders_in

logger = logging.getLogger(__name__)

STREETS = Path("data") / "01_raw" / "streets"
CLASSES = ("bus", "bike", "car", "motor", "person", "rider", "truck")
LISTS = Path("VOC2007") / "ImageSets" / "Main"
SPLITS = ("train", "val", "test")
"""Without ``adapt``, whose labels are never used in training."""
_CAMERA = re.compile(r"_c\d+$")


def write_crops(root: Path, out: Path, classes: list[str], params: ClassificationParams | None = None) -> pd.DataFrame:
    """Crop every object of the classification task, each layout in one domain only.

    Args:
        root: folder of the domains, structured like Streets.
        out: output folder; must not exist.
        classes: class names of the data set.
        params: margin and smallest side of a crop.

    Returns:
        Number of crops by domain (rows) and class.

    Raises:
        DataError: ``out`` already exists, or an image or annotation is missing or broken.
    """
    if out.exists():
        raise DataError(f"'{out}' already exists; remove it, or choose another folder with --out")
    if not root.is_dir():
        raise DataError(f"the folder '{root}' does not exist; set the folder of Streets with --root")
    params = params or ClassificationParams()
    parts = []
    for domain in (folder.name for folder in folders_in(root)):
        splits = {name: name for name in SPLITS if (root / domain / LISTS / f"{name}.txt").is_file()}
        parts.append(read_domain("voc", root, domain, "target", splits, classes)[0])
    crops = objects(assign_layouts(pd.concat(parts, ignore_index=True)), params.margin, params.min_side)
    crops["class"] = [classes[int(labels[0]) - 1] for labels in crops["labels"]]
    with atomic_folder(out) as new:
        for row in crops.to_dict("records"):
            _write(inside(root, row["image"]), row["crop"], new / row["domain"] / row["class"], row["image_id"])
    return pd.crosstab(crops["domain"], crops["class"])


def assign_layouts(images: pd.DataFrame) -> pd.DataFrame:
    """Keep the rows of each layout in one domain only: of its domains, the one with the fewest images so far."""
    layout = images["image_id"].map(lambda name: _CAMERA.sub("", str(name)))
    counts = images.groupby([layout, images["domain"]]).size().unstack()
    assigned: Counter[str] = Counter()
    owner: dict[str, str] = {}
    for name in counts.index[counts.notna().sum(axis=1).to_numpy().argsort(kind="stable")]:
        owner[name] = min(counts.columns[counts.loc[name].notna()], key=lambda domain: assigned[domain])
        assigned[owner[name]] += int(counts.loc[name, owner[name]])
    return images[images["domain"] == layout.map(owner)].reset_index(drop=True)


def _write(image: Path, crop: list[int], folder: Path, name: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    open_image(image).crop((crop[0], crop[1], crop[2], crop[3])).save(folder / f"{name}.png")


def main(arguments: list[str] | None = None) -> int:
    """Run the command line and return its exit status."""
    parser = argparse.ArgumentParser(prog="python -m dg_project.pretraining.street_crops",
                                     description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--out", type=Path, required=True, help="output folder")
    parser.add_argument("--root", type=Path, default=STREETS, help="folder of the domains")
    options = parser.parse_args(arguments)
    return exit_status(lambda: logger.info(
        "%s", write_crops(options.root, options.out, list(CLASSES)).to_string()))


if __name__ == "__main__":
    sys.exit(main())
