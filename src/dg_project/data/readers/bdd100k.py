"""BDD100K: ``images/100k`` with the boxes of 2018 or 2020, or ``images/10k`` with masks; domains by weather."""

from __future__ import annotations

from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from dg_project.config import Params
from dg_project.core.errors import DataError
from dg_project.core.files import inside
from dg_project.data.readers.base import Listing, RawObject, RawSample, Reader
from dg_project.data.readers.flags import flag
from dg_project.data.readers.folders import (
    expected_form,
    image_size,
    images_in,
    need_folder,
    need_images,
    read_json,
    stored,
    within,
)
from dg_project.data.readers.leftovers import names_in, without_image

Frame = dict[str, Any]
Weather = Literal["clear", "partly cloudy", "overcast", "rainy", "snowy", "foggy", "undefined"]
TimeOfDay = Literal["daytime", "night", "dawn/dusk", "undefined"]
Scene = Literal["city street", "highway", "residential", "parking lot", "tunnel", "gas stations", "undefined"]


class BDD100KReader(Reader):
    """Reads boxes from one list per split (2020, 2018) or one file per image (2018), or the masks of ``sem_seg``."""

    class Options(Params):
        """Annotation format, and image attributes to select; an empty list selects all images.

        In det_2018, pedestrian, motorcycle and bicycle are named person, motor and bike.
        """

        labels: Literal["det_20", "det_2018", "sem_seg"] = "det_20"
        weather: list[Weather] = Field([])
        timeofday: list[TimeOfDay] = Field([])
        scene: list[Scene] = Field([])

    options: Options

    def read(self, split: str) -> Listing:
        """List the images of a split with the selected attributes."""
        folder = self._folder(split)
        labels = self.place.folder / "labels"
        if self.options.labels == "sem_seg":
            return self._masks(folder, labels / "sem_seg" / "masks" / split,
                               labels / "sem_seg" / "polygons" / f"sem_seg_{split}.json")
        if self.options.labels == "det_2018" and (labels / "100k" / split).is_dir():
            return self._boxes_by_image(folder, labels / "100k" / split)
        return self._boxes(folder, labels / "det_20" / f"det_{split}.json" if self.options.labels == "det_20" else
                           labels / f"bdd100k_labels_images_{split}.json")

    def images(self, split: str) -> list[tuple[str, Path]]:
        """List all images of a split's folder; attributes cannot be selected without labels.

        Raises:
            DataError: the folder is missing or empty, or the options select attributes.
        """
        if filters := self._filters():
            raise DataError(f"'{self.place.folder}': the attributes {', '.join(filters)} of an image are in its "
                            "annotation, which adaptation must not open; take them out of the options of "
                            f"'{self.place.domain}', or list its images in the layout of the voc reader, which needs "
                            "no annotation for data.adapt_split")
        return [(path.stem, path) for path in need_images(self._folder(split), f"Unpack {self._archive}")]

    @property
    def _kind(self) -> str:
        return "10k" if self.options.labels == "sem_seg" else "100k"

    @property
    def _archive(self) -> str:
        return f"bdd100k_images_{self._kind}.zip"

    def _folder(self, split: str) -> Path:
        return need_folder(self.place.folder / "images" / self._kind / split,
                           f"The bdd100k reader expects <root>/<domain>/images/{self._kind}/<split>; correct "
                           "data.splits or data.root")

    def _boxes(self, folder: Path, path: Path) -> Listing:
        every = _frames(path)
        frames = self._wanted(every, path)
        # Boxes of 2020 include the last pixel, those of 2018 do not.
        last = 1 if self.options.labels == "det_20" else 0
        return Listing([(Path(frame["name"]).stem, partial(_boxed, folder, frame["name"], path, frame, last))
                        for frame in frames], warnings=_unlabelled(folder, [frame["name"] for frame in every]))

    def _boxes_by_image(self, folder: Path, labels: Path) -> Listing:
        images = need_images(folder, f"Unpack {self._archive}")
        files = {image: labels / f"{image.stem}.json" for image in images}
        left = without_image(names_in(labels, ".json"), [image.stem for image in images], "annotations", labels,
                             "restore the images", stop=False)
        if self._filters():
            frames = {image: _frame_or_none(path) for image, path in files.items()}
            wanted = self._wanted([frame for frame in frames.values() if frame is not None], labels)
            chosen = {id(frame) for frame in [*wanted, None]}  # broken files are kept, and counted when they are read
            images = [image for image in images if id(frames[image]) in chosen]
        return Listing([(image.stem, partial(_boxed, folder, image.name, files[image], None, 0)) for image in images],
                       warnings=left)

    def _masks(self, folder: Path, masks: Path, polygons: Path) -> Listing:
        images = need_images(folder, f"Unpack {self._archive}")
        need_folder(masks, "Unpack bdd100k_sem_seg_labels_trainval.zip")
        if self._filters():
            names = {Path(frame["name"]).stem for frame in self._wanted(_frames(polygons), polygons)}
            images = [image for image in images if image.stem in names]
        left = without_image(names_in(masks, ".png"), [image.stem for image in need_images(folder, "")], "masks", masks,
                             "restore the images", stop=False)
        return Listing([(image.stem, partial(_masked, image, masks)) for image in images], warnings=left)

    def _filters(self) -> dict[str, list[str]]:
        return {key: list(values) for key, values in self.options.model_dump(exclude={"labels"}).items() if values}

    def _wanted(self, frames: list[Frame], origin: Path) -> list[Frame]:
        """Return the frames with the selected attributes; there must be at least one."""
        def attributes(frame: Frame) -> dict[str, str]:
            known = frame.get("attributes")
            return known if isinstance(known, dict) else {}

        wanted = [frame for frame in frames
                  if all(attributes(frame).get(key) in values for key, values in self._filters().items())]
        if frames and not wanted:
            seen = {key: dict(Counter(str(attributes(frame).get(key)) for frame in frames)) for key in self._filters()}
            raise DataError(f"{origin}: no image has {self._filters()}; the data set has {seen}. Correct data.options")
        return wanted


def _frames(path: Path) -> list[Frame]:
    frames = read_json(path, "unpack the labels, or choose others with data.options.labels (det_20, det_2018, sem_seg)")
    with expected_form(path, "a list of BDD100K frames with names"):
        return [{**frame, "name": str(frame["name"])} for frame in frames]


def _frame(path: Path) -> Frame:
    frame = read_json(path, "add it or remove its image")
    with expected_form(path, "a BDD100K frame"):
        return dict(frame)


def _unlabelled(folder: Path, names: list[str]) -> list[str]:
    """Return a message if images of a folder are in no frame of the list."""
    left = sorted({path.name for path in images_in(folder)} - set(names))
    return [f"{folder}: {len(left)} images, such as '{left[0]}', are not in the list of labels and are not read"
            ] if left else []


def _frame_or_none(path: Path) -> Frame | None:
    try:
        return _frame(path)
    except DataError:
        return None


def _boxed(folder: Path, name: str, path: Path, frame: Frame | None, last: int) -> RawSample:
    """Return the boxes of an image, from its ``frame`` in a list or else from its file ``path``."""
    frame = _frame(path) if frame is None else frame
    image = stored(inside(folder, name))
    size = image_size(image)
    with expected_form(path, f"a BDD100K annotation at the image '{name}'"):
        items = frame["frames"][0]["objects"] if "frames" in frame else frame.get("labels") or []
        objects = [_object(item, size, last) for item in items if item.get("box2d")]  # lanes and areas have no box
    return RawSample(image, path, objects)


def _object(item: Frame, size: tuple[int, int], last: int) -> RawObject:
    x0, y0, x1, y1 = (float(item["box2d"][key]) for key in ("x1", "y1", "x2", "y2"))
    attributes = item.get("attributes") or {}
    crowd = flag(attributes.get("crowd")) or flag(attributes.get("ignored"))
    return RawObject(str(item["category"]), within((x0, y0, x1 + last, y1 + last), size), crowd,
                     stated=f"'{item['category']}', box2d {item['box2d']}")


def _masked(image: Path, masks: Path) -> RawSample:
    mask = masks / f"{image.stem}.png"
    if not mask.is_file():
        raise DataError(f"'{image}' has no mask: '{mask}' is missing; restore it")
    return RawSample(image, mask, mask=mask, mask_ids="train_ids")
