"""Export a trained model as ONNX or ``torch.export`` graph, and check that it predicts the same."""

from __future__ import annotations

import json
import logging
import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor
from torchvision.models.detection.image_list import ImageList

from dg_project.config import ExportFormat, Task
from dg_project.core.errors import CheckpointError
from dg_project.core.extras import onnxruntime, onnxscript
from dg_project.core.templates import open_template
from dg_project.export.decoding import FILES, Exported, Run, open_graph, to_input
from dg_project.export.graph import Graph, graph_of
from dg_project.export.parity import TOLERANCE, ParityResult, match_order, max_difference, measure_parity
from dg_project.methods import Method
from dg_project.methods.model_folder import ModelSpec, load_model, read_card
from dg_project.tasks.base import Prediction


def export_graphs(model: Path, files: Mapping[ExportFormat, Path],
                  images: Sequence[Tensor]) -> dict[ExportFormat, ParityResult]:
    """Write the graph of a trained model, open it and compare it with the model.

    Args:
        model: folder of the trained model.
        files: files to write by format: ``onnx``, ``torch_export``.
        images: real images (3, h, w) in [0, 1] for the comparison.

    Raises:
        ParameterError: the method predicts with more than its network.
        MissingExtraError: the packages of the extra ``export`` are not installed.
        CheckpointError: an exported graph disagrees with the model.
    """
    if "onnx" in files:  # fail before the export if a package is missing
        onnxruntime()
        onnxscript()
    method, spec = load_model(model), read_card(model)[0]
    graph = graph_of(method)
    example = torch.zeros(2, 3, *method.model.image_size)
    batch = torch.export.Dim("batch", min=1)
    with _quiet(), torch.no_grad():
        program = torch.export.export(graph, (example,), dynamic_shapes={"images": {0: batch}}, strict=False)
    found = {}
    for kind, file in files.items():
        with _quiet():
            _write(program, kind, graph, spec, file)
            run = open_graph(file, kind, list(graph.outputs))
        found[kind] = check_parity(kind, _graph_parity(method, spec.task, run, images))
    return found


def _write(program: torch.export.ExportedProgram, kind: ExportFormat, graph: Graph, spec: ModelSpec,
           target: Path) -> None:
    if kind == "torch_export":
        torch.export.save(program, target)
        return
    written = torch.onnx.export(program, dynamo=True, input_names=["images"], output_names=list(graph.outputs),
                                verbose=False)
    assert written is not None
    written.model.metadata_props["dg_project"] = json.dumps({"task": spec.task, "classes": spec.classes})
    written.save(target, external_data=False)


@torch.no_grad()
def _graph_parity(method: Method, task: Task, run: Run, images: Sequence[Tensor]) -> ParityResult:
    """Compare predictions, and the logits or mask probabilities before they are resized to the image."""
    size = method.model.image_size
    result = measure_parity(method.predict, Exported(task, size, run).predict, images)
    for image in images:
        trained, exported = _raw(method.model, image), {k: v[0] for k, v in run(to_input([image], size)).items()}
        if "logits" in trained:
            result.add("logits", max_difference(trained["logits"], exported["logits"]))
        elif "masks" in trained:
            kept = exported["scores"] > 0
            exported = {name: value[kept] for name, value in exported.items()}
            cells = exported["masks"][match_order(trained, exported), None]
            result.add("mask_cells", max_difference(trained["masks"], cells))
    return result


def _raw(model: Any, image: Tensor) -> Prediction:
    """Return the outputs of the trained network before they are resized to the image."""
    inputs = model.prepare([image])
    maps = model.neck(model.features(inputs.images))
    if hasattr(model, "logits"):
        return {"logits": model.logits(maps)[0]}
    sizes = [model.image_size]
    found = model.box_heads.detect(maps, model.rpn(ImageList(inputs.images, sizes), maps)[0], sizes)
    model.add_to(found, maps)
    return cast(Prediction, found[0])


def check_parity(kind: ExportFormat, result: ParityResult) -> ParityResult:
    """Return the result unchanged if the models agree.

    Raises:
        CheckpointError: the exported model differs from the trained one.
    """
    if not result.agrees:
        raise CheckpointError(f"export.format '{kind}': the exported model differs from the trained one by "
                              f"{result.largest} on {result.images} images, and {TOLERANCE:g} is allowed; nothing was "
                              "exported. Choose another format, and report the backbone and the task")
    return result


def card(model: Path, parities: dict[ExportFormat, ParityResult], images: str, model_hash: str) -> dict[str, Any]:
    """Return the content of ``export.json``.

    Args:
        model: folder of the trained model.
        parities: result of the comparison by format.
        images: description of the compared images.
        model_hash: hash of the trained model's files.
    """
    spec, meta = read_card(model)
    graph = graph_of(load_model(model)) if {"onnx", "torch_export"} & parities.keys() else None
    return {
        "task": spec.task, "method": spec.method, "classes": spec.classes, "backbone": spec.backbone.name,
        "model": model_hash, "trained": meta,
        "input": {"name": "images", "size": list(spec.head["image_size"]), "range": [0, 1], "colours": "RGB",
                  "batch": "free"},
        "outputs": dict(graph.outputs) if graph else {},
        "formats": {kind: FILES[kind] for kind in parities},
        "parity": {"tolerance": TOLERANCE, "images": images,
                   "formats": {kind: {"images": p.images, "objects": p.objects, "largest": p.largest}
                               for kind, p in parities.items()}},
    }


def readme(content: dict[str, Any]) -> str:
    """Return the content of ``export.json`` as Markdown."""
    names = dict.fromkeys(name for found in content["parity"]["formats"].values() for name in found["largest"])
    text = open_template("dg_project.export", "export.md.j2").render(
        content, names=list(names), boxes=content["task"] in ("detection", "instance_segmentation"))
    return re.sub(r"\n{3,}", "\n\n", text)


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence the exporters' progress messages and warnings about image-dependent shapes."""
    loggers = [logging.getLogger(name) for name in ("onnx_ir", "onnxscript", "torch.export", "torch.onnx")]
    levels = [logger.level for logger in loggers]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        try:
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)
