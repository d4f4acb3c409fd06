"""Pascal VOC: ``<domain>/VOC2007/{JPEGImages,Annotations,ImageSets/Main}``, the layout of Diverse Weather."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from pathlib import Path

from dg_project.domains.readers.base import RawObject, RawSample, number
from dg_project.errors import DataError, nearest
from dg_project.files import inside

SUFFIXES = (".jpg", ".jpeg", ".png", ".JPG", ".JPEG", ".PNG")


class VOCReader:
    """Reads XML annotations, whose boxes count pixels from 1 and include the last one."""

    def ids(self, root: Path, domain: str, split: str) -> list[str]:
        """Return the first word of every line of ``ImageSets/Main/<split>.txt``."""
        folder = self._folder(root, domain)
        for part in ("JPEGImages", "Annotations", "ImageSets/Main"):
            if not (folder / part).is_dir():
                raise DataError(f"the folder '{folder / part}' is missing; the voc reader expects "
                                "<root>/<domain>/VOC2007/{JPEGImages,Annotations,ImageSets/Main}")
        lists = folder / "ImageSets" / "Main"
        if not (lists / f"{split}.txt").is_file():
            known = [path.stem for path in lists.glob("*.txt")]
            raise DataError(f"the split list '{lists / f'{split}.txt'}' is missing.{nearest(split, known)} "
                            "Add the list or change data.splits")
        return [line.split()[0] for line in (lists / f"{split}.txt").read_text().splitlines() if line.strip()]

    def sample(self, root: Path, domain: str, image_id: str) -> RawSample:
        """Return the annotation of ``image_id`` with boxes as 0-based xyxy, exclusive maximum."""
        folder = self._folder(root, domain)
        annotation = inside(folder, f"Annotations/{image_id}.xml")
        tree = self._parse(annotation)
        named = (tree.findtext("filename") or "").strip().replace("\\", "/").rsplit("/", 1)[-1]
        images = [path for suffix in SUFFIXES if (path := folder / "JPEGImages" / f"{image_id}{suffix}").is_file()]
        if not images:
            raise DataError(f"{annotation}: it names the image '{named or image_id}', which is not in "
                            f"'{folder / 'JPEGImages'}'; add the image or take '{image_id}' out of the split list")
        if named and image_id not in (named, named.rsplit(".", 1)[0]):
            raise DataError(f"{annotation}: it names the image '{named}', but is stored as '{image_id}'; correct or "
                            "delete its <filename>")
        masks = [path if path.is_file() else None for kind in ("SegmentationClass", "SegmentationObject")
                 for path in [folder / kind / f"{image_id}.png"]]
        return RawSample(images[0], annotation, [self._object(item) for item in tree.iterfind("object")],
                         self._size(tree), *masks)

    @staticmethod
    def _folder(root: Path, domain: str) -> Path:
        if not root.is_dir():
            raise DataError(f"the data root '{root}' is missing; set data.root to the folder that holds the domains")
        if not (folder := inside(root, domain)).is_dir():
            known = [path.name for path in root.iterdir() if path.is_dir()]
            raise DataError(f"the domain folder '{folder}' is missing.{nearest(domain, known)} "
                            "Correct data.source, data.targets or data.root")
        return folder / "VOC2007"

    @staticmethod
    def _parse(annotation: Path) -> ElementTree.Element:
        try:
            return ElementTree.parse(annotation).getroot()
        except FileNotFoundError:
            raise DataError(f"the annotation '{annotation}' is missing; add it or take the image out of the split "
                            "list") from None
        except ElementTree.ParseError as error:
            raise DataError(f"{annotation}: it is no well-formed XML ({error}); restore the file") from error

    @staticmethod
    def _object(item: ElementTree.Element) -> RawObject:
        x0, y0, x1, y1 = (number(item.findtext(f"bndbox/{key}")) for key in ("xmin", "ymin", "xmax", "ymax"))
        # Some writers count from 0 against the format: their first pixel, 0, is read as the 1 that it stands for.
        box = (x0 - 1 if x0 else 0.0, y0 - 1 if y0 else 0.0, x1, y1)
        return RawObject((item.findtext("name") or "").strip(), box, (item.findtext("difficult") or "").strip() == "1")

    @staticmethod
    def _size(tree: ElementTree.Element) -> tuple[int, int] | None:
        width, height = number(tree.findtext("size/width")), number(tree.findtext("size/height"))
        return (int(width), int(height)) if width > 0 and height > 0 else None
