"""The segmenter: targets, the loss against its definition, decoding."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dg_project.config import BackboneParams, SegmentationParams
from dg_project.core.errors import DataError, ParameterError
from dg_project.tasks import build_task
from dg_project.tasks.segmentation import PixelHead, Segmenter, pixel_loss

CLASSES = ["road", "sky", "car"]
BACKBONE = BackboneParams(name="test_efficientnet", weights=None, frozen_stages=0)


def segmenter(**options: object) -> Segmenter:
    torch.manual_seed(0)
    params = SegmentationParams.model_validate({"image_size": (64, 96), "channels": 16, "dropout": 0} | options)
    model = build_task("segmentation", BACKBONE, params, CLASSES)
    assert isinstance(model, Segmenter)
    return model.train()


def masks(*sizes: tuple[int, int]) -> list[dict[str, Tensor]]:
    generator = torch.Generator().manual_seed(0)
    values = torch.tensor([0, 1, 2, 255], dtype=torch.uint8)
    return [{"mask": values[torch.randint(4, size, generator=generator)]} for size in sizes]


def images(*sizes: tuple[int, int]) -> list[Tensor]:
    generator = torch.Generator().manual_seed(1)
    return [torch.rand(3, *size, generator=generator) for size in sizes]


def test_mask_resize_keeps_ids() -> None:
    sizes = [(64, 96), (50, 71)]
    inputs = segmenter().prepare(images(*sizes), masks(*sizes))
    assert inputs.targets is not None
    for target, given in zip(inputs.targets, masks(*sizes), strict=True):
        assert target["mask"].shape == (64, 96)
        assert target["mask"].dtype == torch.int64
        assert set(target["mask"].unique().tolist()) <= {0, 1, 2, 255}
        if given["mask"].shape == (64, 96):
            assert torch.equal(target["mask"], given["mask"].long())


def test_train_id_without_class() -> None:
    given = {"mask": torch.full((64, 96), 3, dtype=torch.uint8), "image_id": "a_street"}
    with pytest.raises(DataError, match=r"image .a_street. has the train id 3, but .* has 3 classes"):
        segmenter().prepare(images((64, 96)), [given])


def test_segmentation_loss() -> None:
    model = segmenter()
    inputs = model.prepare(images((64, 96), (64, 96)), masks((64, 96), (64, 96)))
    maps = model.neck(model.features(inputs.images))
    got = model.losses(maps, inputs, torch.tensor([1.0, 0.25]))["loss_segmentation"]
    logits = F.interpolate(model.logits(maps), (64, 96), mode="bilinear")
    assert inputs.targets is not None
    each = []
    for row, target in zip(logits, inputs.targets, strict=True):
        seen = target["mask"] != 255
        each.append(-row.log_softmax(0).permute(1, 2, 0)[seen].gather(1, target["mask"][seen][:, None]).mean())
    torch.testing.assert_close(got, (each[0] + 0.25 * each[1]) / 2)


def test_loss_without_labelled_pixels() -> None:
    assert pixel_loss(torch.randn(1, 3, 4, 4), torch.full((1, 4, 4), 255)).item() == 0


def test_masks_in_original_size() -> None:
    sizes = [(64, 96), (50, 71)]
    for found, size in zip(segmenter().predict(images(*sizes)), sizes, strict=True):
        assert found["mask"].shape == size
        assert found["mask"].dtype == torch.uint8
        assert int(found["mask"].max()) < 3


def test_segmentation_pseudo_labels(monkeypatch: pytest.MonkeyPatch) -> None:
    model = segmenter()
    seen = torch.tensor([[0.9, 0.05, 0.05], [0.1, 0.6, 0.3], [0.3, 0.3, 0.4], [0.0, 0.0, 1.0]]).T.reshape(1, 3, 2, 2)
    monkeypatch.setattr(Segmenter, "probabilities", lambda *inputs: seen)
    targets, weight = model.pseudo_label(images((64, 96)), sure=0.8, unsure=0.5)
    assert targets[0]["mask"].tolist() == [[0, 1], [255, 2]]
    assert targets[0]["mask"].dtype == torch.uint8
    assert weight.tolist() == [0.5]


def test_no_batch_norm_in_head() -> None:
    model = segmenter()
    heads = [model.pyramid, model.reduce, model.decode_stage]
    assert not any(isinstance(module, nn.BatchNorm2d) for head in heads for module in head.modules())
    inputs = model.prepare(images((64, 96), (64, 96)))
    both = model.logits(model.features(inputs.images))
    alone = model.logits(model.features(inputs.images[:1]))
    torch.testing.assert_close(both[:1], alone)


def test_pixel_head_entropy() -> None:
    head = PixelHead(4, 3)
    assert head.entropy(torch.zeros(2, 3, 5, 5)).item() == pytest.approx(1)
    assert head.entropy(torch.tensor([1.0, 0, 0]).view(1, 3, 1, 1) * 100).item() == pytest.approx(0, abs=1e-6)
    logits = torch.randn(1, 3, 1, 1)
    p = logits.flatten().softmax(0)
    assert head.entropy(logits).item() == pytest.approx(-sum(float(v) * math.log(float(v)) for v in p) / math.log(3))


def test_pixel_head_learns() -> None:
    model = segmenter()
    inputs = model.prepare(images((64, 96)), masks((64, 96)))
    logits = model.aux_head(8)(torch.randn(1, 8, 8, 12))
    assert logits.shape == (1, 3, 8, 12)
    assert model.aux_head(8).loss(logits, inputs).isfinite()


def test_unknown_low_stage() -> None:
    with pytest.raises(ParameterError, match=r"low_stages.*'stage9'.*stage"):
        segmenter(low_stages=[9])
