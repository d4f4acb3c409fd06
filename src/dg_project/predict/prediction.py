"""Predict a source chunk by chunk, with constant memory; an interrupted run resumes at the last chunk."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import pandas as pd
import torch
from PIL import Image
from torch import Tensor
from tqdm.auto import tqdm

from dg_project.config import LDMParams, PredictionFormat, PredictParams, Task
from dg_project.core.cache import cache_folder
from dg_project.core.device import resolve_device
from dg_project.core.errors import DataError, ParameterError
from dg_project.core.files import atomic_file, folder_hash, inside
from dg_project.evaluation.scorers import SCORERS
from dg_project.evaluation.segmentation import unpack_mask
from dg_project.figures.overlays import draw_prediction, palette
from dg_project.methods import Method
from dg_project.methods.model_folder import ModelSpec, attach_ldm, load_model, open_ldm, read_card
from dg_project.predict.inputs import CHUNK, Frame, Source, Video
from dg_project.tasks.base import Prediction

FORMATS: dict[Task, tuple[PredictionFormat, ...]] = {
    "detection": ("drawn", "coco", "csv"), "instance_segmentation": ("drawn", "coco", "csv"),
    "segmentation": ("drawn", "masks"), "classification": ("drawn", "csv"),
}
"""Output formats of each task."""
_LOSSY = (".jpg", ".jpeg", ".webp")


@dataclass(frozen=True)
class PredictionRun:
    """Finished predictions in the workspace.

    Attributes:
        folder: contains ``chunks/<key>.parquet``, and images in ``drawn`` and ``masks``.
        keys: chunk keys, in the order of the source.
        spec: spec of the model.
        formats: output formats.
        source: the predicted images.
    """

    folder: Path
    keys: list[str]
    spec: ModelSpec
    formats: tuple[PredictionFormat, ...]
    source: Source

    def rows(self) -> Iterator[dict[str, Any]]:
        """Yield one row per image: ``name, seconds, width, height, problem`` and the columns of the task's scorer."""
        for key in self.keys:
            for row in pd.read_parquet(_chunk(self.folder, key)).to_dict("records"):
                yield {str(name): value for name, value in row.items()}


def formats_of(task: Task, wanted: list[PredictionFormat] | None) -> tuple[PredictionFormat, ...]:
    """Return the formats to write.

    Raises:
        ParameterError: the task does not have the format.
    """
    for name in wanted or ():
        if name not in FORMATS[task]:
            raise ParameterError(f"predict.formats: {task} cannot be written as '{name}'; it has "
                                 f"{', '.join(FORMATS[task])}")
    return tuple(dict.fromkeys(wanted)) if wanted else FORMATS[task]


def predict_source(model: Path, source: Source, params: PredictParams, device: str, workspace: Path,
                   ldm: LDMParams | None = None) -> PredictionRun:
    """Predict every image of a source, except those of chunks finished by an earlier call.

    Args:
        model: folder of the trained model.
        source: images to predict.
        params: ``predict``; ``batch_size`` affects only the speed.
        device: torch device.
        workspace: folder of all cached work; chunks are keyed by model, input and parameters.
        ldm: the diffusion model, for methods that need it at prediction.

    Raises:
        DataError: an image cannot be read, and ``on_bad_sample`` is ``stop``.
    """
    resolved = resolve_device(device)
    formats_of(read_card(model)[0].task, params.formats)
    method = load_model(model, resolved)
    generator = open_ldm(type(method), "prediction", ldm, device)
    attach_ldm(generator, method)
    more = [] if generator is None else [generator.fingerprint, ldm]
    return predict_with(method, model, source, params, resolved, workspace, *more)


def predict_with(method: Method, model: Path, source: Source, params: PredictParams, device: torch.device,
                 workspace: Path, *inputs: Any) -> PredictionRun:
    """Predict every image of a source with an opened model; see ``predict_source``.

    Args:
        method: the opened model.
        model: its folder.
        source: images to predict.
        params: ``predict``.
        device: where the model is.
        workspace: folder of all cached work.
        inputs: everything else that the predictions depend on.
    """
    spec = read_card(model)[0]
    formats = formats_of(spec.task, params.formats)
    options = params.model_dump(include={"score_threshold", "on_bad_sample", "every"})
    status = source.path.stat()
    version = (status.st_size, status.st_mtime_ns) if isinstance(source, Video) else ()
    folder = cache_folder(workspace, "predict", folder_hash(model), str(source.path.resolve()), version, options,
                          formats, *inputs, code=[__name__, *type(method).code_modules()])
    predictor = _ChunkPredictor(method, spec, params, formats, device, folder)
    keys = []
    with tqdm(total=source.total, desc=f"predict ({spec.method})", unit="image") as bar, torch.inference_mode():
        for key, frames in source.chunks(lambda key: _chunk(folder, key).exists()):
            keys.append(key)
            bar.update(CHUNK if _chunk(folder, key).exists() else predictor.predict_chunk(key, frames))
        bar.n = source.total or bar.n
    return PredictionRun(folder, keys, spec, formats, source)


class _ChunkPredictor:
    """Predicts, draws and stores one chunk; the table is written last, so a chunk with a table is complete."""

    def __init__(self, method: Method, spec: ModelSpec, params: PredictParams, formats: tuple[PredictionFormat, ...],
                 device: torch.device, folder: Path) -> None:
        self.method, self.device = method, device
        self.spec, self.params, self.formats, self.folder = spec, params, formats, folder
        self.scorer = SCORERS[spec.task]

    def predict_chunk(self, key: str, frames: Iterator[Frame]) -> int:
        """Predict and store one chunk; return its number of images."""
        rows: list[dict[str, Any]] = []
        batch: list[Frame] = []
        order: dict[str, int] = {}
        for frame in frames:
            order[frame.name] = len(order)
            if frame.image is None:
                if self.params.on_bad_sample == "stop":
                    raise DataError(f"{frame.problem}; or skip such images: --params predict.on_bad_sample=skip")
                rows.append(_about(frame))
                continue
            batch.append(frame)
            if len(batch) == self.params.batch_size:
                rows += self._predict(batch)
                batch = []
        rows += self._predict(batch)
        rows.sort(key=lambda row: order[row["name"]])
        with atomic_file(_chunk(self.folder, key)) as aside:
            columns = ["name", "seconds", "width", "height", "problem", *self.scorer.columns]
            pd.DataFrame(rows, columns=columns).to_parquet(aside)
        return len(rows)

    def _predict(self, batch: list[Frame]) -> list[dict[str, Any]]:
        images = [frame.image for frame in batch if frame.image is not None]
        if not images:
            return []
        found = self.method.predict([image.to(self.device).float() / 255 for image in images])
        rows = []
        for frame, image, one in zip(batch, images, found, strict=True):
            packed = self.scorer.pack(above(one, self.params.score_threshold))
            self._store(frame.name, image, packed)
            rows.append(_about(frame) | packed)
        return rows

    def _store(self, name: str, image: Tensor, packed: dict[str, Any]) -> None:
        if "drawn" in self.formats:
            drawn = draw_prediction(image, packed, self.spec.classes)
            _save(Image.fromarray(drawn.permute(1, 2, 0).numpy()), drawn_path(self.folder, name))
        if "masks" in self.formats:
            mask = Image.fromarray(unpack_mask(packed["mask"]))
            mask.putpalette(palette(len(self.spec.classes)).tobytes())
            _save(mask, mask_path(self.folder, name))


def drawn_path(folder: Path, name: str) -> Path:
    """Return the path of a drawn image: named like the image; frames of a video are JPEGs."""
    return inside(folder, f"drawn/{name}" if PurePosixPath(name).suffix else f"drawn/{name}.jpg")


def mask_path(folder: Path, name: str) -> Path:
    """Return the path of a mask: ``a.png`` for ``a.png``, ``a.jpg.png`` for ``a.jpg``; frames are PNGs."""
    return inside(folder, f"masks/{name}" if name.endswith(".png") else f"masks/{name}.png")


def _chunk(folder: Path, key: str) -> Path:
    return folder / "chunks" / f"{key}.parquet"


def _about(frame: Frame) -> dict[str, Any]:
    height, width = (0, 0) if frame.image is None else frame.image.shape[-2:]
    return {"name": frame.name, "seconds": frame.seconds, "width": int(width), "height": int(height),
            "problem": frame.problem}


def above(found: Prediction, threshold: float) -> Prediction:
    """Return the detections with at least this score; other predictions are unchanged."""
    if "scores" not in found:
        return found
    sure = found["scores"] >= threshold
    return {name: value[sure] for name, value in found.items()}


def _save(image: Image.Image, path: Path) -> None:
    with atomic_file(path) as aside:
        if path.suffix.lower() in _LOSSY:
            image.save(aside, quality=92)
        else:
            image.save(aside)
