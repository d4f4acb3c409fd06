"""Exported graphs of every task predict what the trained model predicts on twenty images."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from streets_fixture import SOURCE, TARGETS
from torch import Tensor

from dg_project.config import ExportFormat, Task
from dg_project.core.errors import CheckpointError, ParameterError
from dg_project.data.images import load_image
from dg_project.export import export
from dg_project.export.decoding import CARD, FILES, open_exported, to_input
from dg_project.export.graph import graph_of, suppress
from dg_project.export.parity import TOLERANCE, ParityResult, measure_parity
from dg_project.export.served import check_servable
from dg_project.methods.erm import ERM
from dg_project.methods.model_folder import build_method, load_model, read_card, save_model

TASKS: list[Task] = ["classification", "segmentation", "detection", "instance_segmentation"]


@pytest.fixture(scope="session")
def images(streets: Path) -> list[Tensor]:
    """Twenty images of five weathers, the last of another size."""
    files = [path for domain in [SOURCE, *TARGETS]
             for path in sorted((streets / domain / "VOC2007" / "JPEGImages").glob("test_*.jpg"))]
    found = [load_image(path).float() / 255 for path in files]
    return [*found[:19], found[19][:, :50, :70].contiguous()]


@pytest.mark.parametrize("task", TASKS)
def test_exported_models_agree(task: Task, models: dict[Task, Path], images: list[Tensor], tmp_path: Path) -> None:
    model = models[task]
    kinds: tuple[ExportFormat, ...] = ("onnx", "torch_export")
    parities = export.export_graphs(model, {kind: tmp_path / FILES[kind] for kind in kinds}, images)
    (tmp_path / CARD).write_text(json.dumps(export.card(model, parities, "20 images", "0123")))
    predict = load_model(model).predict
    for kind, found in parities.items():
        assert found.images == 20
        assert (found.objects > 20) == ("scores" in found.largest)
        assert set(found.largest) == {
            "classification": {"probabilities", "logits"}, "segmentation": {"mask", "logits"},
            "detection": {"boxes", "scores"}, "instance_segmentation": {"boxes", "scores", "masks", "mask_cells"}}[task]
        assert max(value for name, value in found.largest.items() if name not in ("mask", "masks")) <= TOLERANCE
        assert all(found.largest.get(name, 0) < 1e-3 for name in ("mask", "masks"))
        together = open_exported(tmp_path, kind).predict(images[:3])  # the batch is free
        assert len(together) == 3
        again = measure_parity(predict, lambda _, together=together: together[:1], images[:1])
        assert all(value < 1e-3 for value in again.largest.values())


def test_card_and_readme(models: dict[Task, Path]) -> None:
    found = ParityResult(images=20, objects=31, largest={"boxes": 2.5e-7, "scores": 1e-6})
    card = export.card(models["detection"], {"onnx": found}, "20 test images of `daytime_clear`", "0123abcd")
    assert card["parity"]["formats"]["onnx"] == {"images": 20, "objects": 31, "largest": found.largest}
    text = export.readme(card)
    assert "| onnx | `model.onnx` | 20 | 31 | 2.5e-07 | 1.0e-06 |" in text
    assert "(N, 3, 64, 96)" in text
    code = re.findall(r"```python\n(.*?)```", text, flags=re.S)
    assert code
    for block in code:
        compile(block, "README.md", "exec")


@pytest.mark.parametrize(("change", "name"), [
    ({"boxes": torch.tensor([[0.0, 0.0, 10.0, 10.1]])}, "boxes"), ({"labels": torch.tensor([2])}, "boxes"),
    ({"scores": torch.tensor([0.7])}, "scores"),
    ({"boxes": torch.zeros(0, 4), "labels": torch.zeros(0), "scores": torch.zeros(0)}, "boxes"),
])
def test_difference_stops_the_export(change: dict[str, Tensor], name: str) -> None:
    one = {"boxes": torch.tensor([[0.0, 0.0, 10.0, 10.0]]), "labels": torch.tensor([1]), "scores": torch.tensor([0.9])}
    images = [torch.zeros(3, 20, 40)]
    assert measure_parity(lambda _: [one], lambda _: [dict(one)], images).agrees
    found = measure_parity(lambda _: [one], lambda _: [one | change], images)
    assert found.largest[name] > TOLERANCE
    with pytest.raises(CheckpointError, match="nothing was exported"):
        export.check_parity("onnx", found)


def test_only_equal_scores_may_be_reordered() -> None:
    boxes = torch.tensor([[0.0, 0, 9, 9], [20, 0, 29, 9], [10, 0, 19, 9]])
    one = {"boxes": boxes, "labels": torch.tensor([1, 1, 1]), "scores": torch.tensor([0.9, 0.5, 0.5])}
    for order, agrees in (([0, 2, 1], True), ([1, 0, 2], False)):
        other = {"boxes": boxes[order], "labels": one["labels"], "scores": one["scores"]}
        found = measure_parity(lambda _: [one], lambda _, other=other: [other], [torch.zeros(3, 20, 40)])
        assert found.agrees is agrees


def test_suppress_equals_batched_nms() -> None:
    from torchvision.ops import batched_nms

    generator = torch.Generator().manual_seed(0)
    corner = torch.rand(2, 60, 2, generator=generator) * 60
    boxes = torch.cat([corner, corner + 5 + 30 * torch.rand(2, 60, 2, generator=generator)], -1)
    scores, group = torch.rand(2, 60, generator=generator), torch.arange(60) % 3
    valid = torch.rand(2, 60, generator=generator) > 0.2
    got = suppress(boxes, scores, group, 3, valid, 0.5)
    for i in range(2):
        rows = valid[i].nonzero()[:, 0]
        kept = rows[batched_nms(boxes[i][rows], scores[i][rows], group[rows], 0.5)]
        assert set(kept.tolist()) == set((got[i] >= 0).nonzero()[:, 0].tolist())
        assert len(kept) < len(rows)


def test_method_with_own_predict_raises(models: dict[Task, Path]) -> None:
    class Adaptive(ERM):
        """Predicts with more than its network."""

        def predict(self, images):
            return super().predict(images)

    method = load_model(models["classification"])
    with pytest.raises(ParameterError, match=r"export.format: mlflow"):
        graph_of(Adaptive(method.model, method.params, ["a"]))


def test_method_that_needs_the_ldm_is_not_servable(models: dict[Task, Path], tmp_path: Path) -> None:
    check_servable(models["classification"])
    spec = read_card(models["classification"])[0].model_copy(update={"method": "dsi", "method_params": {}})
    save_model(build_method(spec), spec, tmp_path)
    with pytest.raises(ParameterError, match="'dsi' needs the diffusion model to predict"):
        check_servable(tmp_path)


def test_open_exported_names_the_problem(models: dict[Task, Path], tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="is not an exported model"):
        open_exported(tmp_path, "onnx")
    (tmp_path / CARD).write_text(json.dumps({"formats": {"torch_export": "model.pt2"}}))
    with pytest.raises(CheckpointError, match="has no 'onnx', only torch_export"):
        open_exported(tmp_path, "onnx")


def test_to_input_equals_model_prepare(models: dict[Task, Path]) -> None:
    image = torch.rand(3, 50, 70, generator=torch.Generator().manual_seed(0))
    model = load_model(models["detection"]).model
    prepared = model.backbone.normalise(to_input([image], model.image_size))
    np.testing.assert_array_equal(prepared.numpy(), model.prepare([image]).images.numpy())
