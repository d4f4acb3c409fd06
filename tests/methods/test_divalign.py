"""DivAlign and ERM with augmentation, the rivals that change or compare views of the source images."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from dg_project.config import BackboneParams, DetectionParams
from dg_project.data.batches import Batch
from dg_project.methods import Method, divalign
from dg_project.methods.augmented import CHANGES, augment
from dg_project.methods.divalign import views
from dg_project.methods.erm import ERM
from dg_project.methods.model_folder import ModelSpec, build_method
from dg_project.tasks.answers import kl_divergence


def method(name: str, **options: Any) -> Method:
    detection = DetectionParams(image_size=(64, 96), fpn_channels=16, box_head_features=16, proposals_train=32,
                                rois_per_image=16, anchors_per_image=32)
    return build_method(ModelSpec(
        method=name, method_params=options, classes=["car", "person"], domains=["day", "night"],
        backbone=BackboneParams(name="test_efficientnet", weights=None, frozen_stages=0), head=detection.model_dump()))


def batch(difference: float) -> Batch:
    """A source image and a pseudo image of it, lighter by ``difference``."""
    image = torch.rand(3, 64, 96, generator=torch.Generator().manual_seed(0)) * 0.5
    target = {"boxes": torch.tensor([[8.0, 10.0, 40.0, 34.0]]), "labels": torch.tensor([1]),
              "difficult": torch.tensor([False])}
    return Batch([image, image + difference], [dict(target), dict(target)], torch.tensor([0, 1]), torch.tensor([4, 4]),
                 torch.ones(2))


def losses(of: Batch, **options: Any) -> dict[str, Tensor]:
    torch.manual_seed(0)
    one = method("divalign", **options).train()
    torch.manual_seed(1)
    return one.losses(of, 0.0)


def test_pairs_of_views() -> None:
    source, view = views(torch.tensor([3, 3, 7, 5, 7]), torch.tensor([0, 2, 0, 1, 1]))
    assert (source.tolist(), view.tolist()) == ([0, 2], [1, 4])


def test_alignment_grows_with_the_difference() -> None:
    same, small, large = (losses(batch(difference)) for difference in (0.0, 0.1, 0.4))
    assert float(same["loss_cal"]) == pytest.approx(0.0, abs=1e-5)
    assert float(same["loss_ral"]) == pytest.approx(0.0, abs=1e-5)
    assert 0 < float(small["loss_cal"]) < float(large["loss_cal"])
    torch.testing.assert_close(losses(batch(0.4), alpha=0.5)["loss_cal"], large["loss_cal"] / 2)
    torch.testing.assert_close(losses(batch(0.4), beta=2.0)["loss_ral"], large["loss_ral"] * 2)
    weighted = batch(0.4)
    weighted.weight[1] = 0.25
    torch.testing.assert_close(losses(weighted)["loss_cal"], large["loss_cal"] / 4)


def test_both_views_get_gradient() -> None:
    of = batch(0.4)
    of.images = [image.clone().requires_grad_() for image in of.images]
    losses(of)["loss_cal"].backward()
    assert all(image.grad is not None and image.grad.abs().sum() > 0 for image in of.images)


def test_divergence_is_that_of_the_view_from_the_source() -> None:
    of_view, of_source = torch.tensor([[3.0, 0.0]]), torch.tensor([[0.0, 1.0]])
    p, q = of_view.softmax(1), of_source.softmax(1)
    torch.testing.assert_close(kl_divergence(of_view, of_source), (p * (p / q).log()).sum(1))


def test_augmentation_changes_pixels_and_moves_none() -> None:
    # A bright square on a dark ground stays in its place under every change.
    image = torch.full((3, 48, 48), 0.2)
    image[:, 12:36, 12:36] = torch.tensor([0.5, 0.4, 0.3])[:, None, None]
    for change in CHANGES:
        torch.manual_seed(0)
        changed = change((image * 255).to(torch.uint8)).float()
        inside, outside = changed[:, 16:32, 16:32].mean((1, 2)), changed[:, :8].mean((1, 2))
        assert (inside - outside).abs().max() > 10, change
        assert (changed[:, 16:32, 16:32] - inside[:, None, None]).abs().mean() < 25, change


def test_augmentation_depends_on_the_seed_alone() -> None:
    image = torch.rand(3, 32, 48)
    made = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        made.append(augment(image, 3))
    assert torch.equal(made[0], made[1])
    assert not torch.equal(made[0], made[2])
    assert all(one.shape == image.shape and one.min() >= 0 and one.max() <= 1 for one in made)


@pytest.mark.parametrize(("p", "changed"), [(0.0, False), (1.0, True)])
def test_augmented_changes_its_share_of_images(monkeypatch: pytest.MonkeyPatch, p: float, changed: bool) -> None:
    seen: list[Batch] = []
    monkeypatch.setattr(ERM, "losses", lambda self, batch, progress: seen.append(batch) or {})
    rows = batch(0.2)
    method("augmented", p=p).losses(rows, 0.0)
    assert [not torch.equal(new, old) for new, old in zip(seen[0].images, rows.images, strict=True)] == [changed] * 2
    assert torch.equal(seen[0].targets[0]["boxes"], rows.targets[0]["boxes"])


def test_weights_of_the_two_terms(monkeypatch: pytest.MonkeyPatch) -> None:
    apart = {"class": torch.tensor(3.0), "box": torch.tensor(8.0), "mask": torch.tensor(1.0)}
    monkeypatch.setattr(divalign, "divergence", lambda *asked: dict(apart))
    found = losses(batch(0.1), alpha=0.5, beta=2.0)
    assert float(found["loss_cal"]) == 1.5
    assert float(found["loss_ral"]) == 2 * (8 + 1)
