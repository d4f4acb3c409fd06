"""A trained model in three lines of Python: no Kedro session, no tracking."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dg_project.config import PredictionFormat, PredictParams
from dg_project.core.device import resolve_device
from dg_project.core.errors import DataError, ParameterError
from dg_project.core.model_versions import MODELS, newest_model
from dg_project.evaluation.scorers import SCORERS
from dg_project.evaluation.segmentation import unpack_mask
from dg_project.figures.overlays import draw_prediction
from dg_project.methods.model_choice import describe_model
from dg_project.methods.model_folder import load_model, read_card
from dg_project.predict.inputs import ImageFiles, Source, Video, open_source
from dg_project.predict.prediction import PredictionRun, above, drawn_path, predict_with
from dg_project.predict.writing import summary, write_predictions

ImagePath = str | os.PathLike[str]


class TrainedModel:
    """A trained model that predicts images, folders of images, or a video.

    Args:
        folder: its folder.
        device: torch device, or ``auto``.

    Attributes:
        folder: its folder.
        spec: method, task, classes and network.
        meta: facts of its training: steps, seed, validation score.
        method: the torch module.
    """

    def __init__(self, folder: Path, device: str = "auto") -> None:
        self.folder, self.device = folder, resolve_device(device)
        self.spec, self.meta = read_card(folder)
        self.method = load_model(folder, self.device)
        if self.method.needs.ldm == "prediction":
            raise ParameterError(f"the method '{self.spec.method}' predicts with a diffusion model, which only the "
                                 "pipeline opens: kedro run --pipeline=predict --params predict.input=IMAGES")

    def __call__(self, *images: ImagePath, score_threshold: float = 0.5,
                 formats: list[PredictionFormat] | None = None) -> Predictions:
        """Predict images, folders of images, or one video; unreadable images are skipped and named.

        Args:
            images: paths.
            score_threshold: detections with a lower score are left out.
            formats: what can be saved; None: all that the task has.

        Raises:
            DataError: a path does not exist or has no image, or no image can be read.
        """
        params = PredictParams(score_threshold=score_threshold, formats=formats, on_bad_sample="skip")
        scratch = tempfile.TemporaryDirectory(prefix="dg_project-")
        run = predict_with(self.method, self.folder, open_sources([Path(image) for image in images]), params,
                           self.device, Path(scratch.name))
        return Predictions(run, scratch)

    @torch.inference_mode()
    def draw(self, image: Tensor, score_threshold: float = 0.5) -> tuple[Tensor, dict[str, Any]]:
        """Return an image (uint8, 3 x H x W) with what is found in it, and the row of the predictions table."""
        found = self.method.predict([image.to(self.device).float() / 255])[0]
        row = SCORERS[self.spec.task].pack(above(found, score_threshold))
        return draw_prediction(image, row, self.spec.classes), row

    def __repr__(self) -> str:
        return f"TrainedModel({describe_model(self.folder)})"


class Predictions:
    """What a model found, one row per image; saved where you say.

    Attributes:
        summary: counts of images and of what was found, and the skipped images with the reason.
    """

    def __init__(self, run: PredictionRun, scratch: tempfile.TemporaryDirectory[str]) -> None:
        self._run, self._scratch = run, scratch  # the folder is removed with this object
        self.summary = summary(run)
        if self.summary["skipped"] == self.summary["images"]:
            raise DataError("no image could be read: " + "; ".join(self.summary["problems"]))

    def __len__(self) -> int:
        return int(self.summary["images"] - self.summary["skipped"])

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """Yield per image its ``name`` and the ``boxes``, ``classes`` and ``scores``, the ``mask``, or the class."""
        return (_readable(row, self._run.spec.classes) for row in self._run.rows() if not row["problem"])

    def save(self, folder: ImagePath) -> Path:
        """Write drawn images, tables and masks into a folder; return it. Files of the same names are replaced."""
        target = Path(folder)
        target.mkdir(parents=True, exist_ok=True)
        write_predictions(self._run, target)
        return target

    def drawn_in(self, folder: Path) -> Path:
        """Return where ``save`` put the drawn images: the image, if there is one, else their folder or video."""
        if isinstance(self._run.source, Video):
            return folder / "drawn.mp4"
        names = [row["name"] for row in self._run.rows() if not row["problem"]]
        return drawn_path(folder, names[0]) if len(names) == 1 else folder / "drawn"


def load(folder: ImagePath = MODELS, device: str = "auto") -> TrainedModel:
    """Open a trained model.

    Examples:
        >>> from dg_project import load                         # doctest: +SKIP
        >>> found = load("data/06_models/model")("street.jpg")  # doctest: +SKIP
        >>> found.save("predicted")                             # doctest: +SKIP

    Args:
        folder: a model folder, a folder of versions, whose newest one is opened, or the name of a shipped model.
        device: torch device, or ``auto``.

    Raises:
        CheckpointError: the folder holds no trained model.
    """
    return TrainedModel(newest_model(Path(folder)), device)


def open_sources(paths: list[Path]) -> Source:
    """Open one input of any kind, or several images and folders of images as one.

    Raises:
        DataError: a path cannot be used, or two images would have results of one name.
    """
    if len(paths) == 1:
        return open_source(paths[0])
    files: dict[str, Path] = {}
    for source in map(open_source, paths):
        if not isinstance(source, ImageFiles):
            raise DataError(f"'{source.path}' is a video: predict it alone")
        if same := files.keys() & source.files.keys():
            name = min(same)
            raise DataError(f"'{files[name]}' and '{source.files[name]}' would both be named '{name}'; predict them "
                            "in two runs")
        files |= source.files
    if not files:
        raise DataError("no image is named; give images, a folder of images or a video")
    return ImageFiles(paths[0].parent, files)


def _readable(row: dict[str, Any], classes: list[str]) -> dict[str, Any]:
    """Return a row with class names, and without what only this project's tables need."""
    about = {"name": row["name"], "width": row["width"], "height": row["height"]}
    if "mask" in row:
        return about | {"mask": unpack_mask(row["mask"])}
    if "probabilities" in row:
        return about | {"class": classes[int(np.argmax(row["probabilities"]))],
                        "probabilities": dict(zip(classes, map(float, row["probabilities"]), strict=True))}
    found = {"boxes": [list(map(float, box)) for box in row["boxes"]],
             "classes": [classes[int(label) - 1] for label in row["labels"]],
             "scores": list(map(float, row["scores"]))}
    return about | found | ({"masks": list(row["masks"])} if "masks" in row else {})
