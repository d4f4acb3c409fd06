"""MODE: the search for weights, and mixtures against a reference."""

from __future__ import annotations

import pytest
import torch

from dg_project.config import BackboneParams, ClassificationParams
from dg_project.data.batches import Batch
from dg_project.methods.mode import MODE, convex, explore, mix_amplitudes, mix_statistics
from dg_project.methods.model_folder import ModelSpec, build_method
from dg_project.tasks.classification import Classifier

IMAGES = torch.rand(3, 3, 8, 10, generator=torch.Generator().manual_seed(0))
BANK = torch.tensor([[0, 1], [1, 1], [2, 0]])
WEIGHTS = torch.tensor([[0.25, 0.75], [0.5, 0.5], [1.0, 0.0]])


def test_explore_sign_steps() -> None:
    slope = torch.tensor([[1.0, -2.0], [0.0, 3.0]])
    found = explore(lambda w: (w * slope).sum(), torch.full((2, 2), 0.25), 10, 0.05)
    torch.testing.assert_close(found, torch.tensor([[0.75, 0.0], [0.25, 0.75]]), atol=1e-5, rtol=0)
    far = explore(lambda w: (w * slope).sum(), torch.full((2, 2), 0.9), 10, 0.05)
    assert far.max() == 1
    assert not found.requires_grad


def test_convex_weights() -> None:
    torch.testing.assert_close(convex(torch.tensor([[0.2, 0.6]])), torch.tensor([[0.25, 0.75]]), atol=1e-5, rtol=0)


@pytest.mark.parametrize("mix", [mix_amplitudes, mix_statistics])
def test_mixtures_equal_reference(mix) -> None:
    found = mix(IMAGES, BANK, WEIGHTS)
    for n, image in enumerate(IMAGES):
        styles = IMAGES[BANK[n]]
        if mix is mix_amplitudes:
            amplitude = sum(w * torch.fft.fft2(s).abs() for w, s in zip(WEIGHTS[n], styles, strict=True))
            expected = torch.fft.ifft2(amplitude * torch.exp(1j * torch.fft.fft2(image).angle())).real
        else:
            mean, deviation = styles.mean((2, 3)), (styles.var((2, 3)) + 1e-5).sqrt()
            own = (image - image.mean((1, 2), keepdim=True)) / (image.var((1, 2), keepdim=True) + 1e-5).sqrt()
            expected = own * (WEIGHTS[n] @ deviation)[:, None, None] + (WEIGHTS[n] @ mean)[:, None, None]
        torch.testing.assert_close(found[n], expected, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(found[2], IMAGES[2], atol=1e-5, rtol=0)  # all weight on its own style


@pytest.mark.parametrize("name", ["mode_f", "mode_a"])
def test_mode_losses(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    head = ClassificationParams(image_size=(32, 32), dropout=0).model_dump(mode="json")
    method = build_method(ModelSpec(
        method=name, method_params={"steps": 3, "beta": 0.3}, task="classification", classes=["a", "b"],
        domains=["day"], head=head, backbone=BackboneParams(name="test_efficientnet", weights=None))).train()
    assert isinstance(method, MODE)
    images = list(torch.rand(4, 3, 32, 32, generator=torch.Generator().manual_seed(1)))
    labels, weight = torch.tensor([0, 1, 1, 0]), torch.tensor([1.0, 0.5, 1.0, 1.0])
    batch = Batch(images, [{"labels": label[None] + 1} for label in labels], torch.zeros(4, dtype=torch.long),
                  torch.arange(4), weight)
    hardest, search = [], method._hardest
    monkeypatch.setattr(method, "_hardest", lambda *given: hardest.append(search(*given)) or hardest[-1])
    torch.manual_seed(0)
    found = method.losses(batch, 0.0)

    def entropy(images: torch.Tensor) -> torch.Tensor:
        assert isinstance(method.model, Classifier)
        logits = method.model.logits(method.model.neck(method.model.features(images)))
        return (torch.nn.functional.cross_entropy(logits, labels, reduction="none") * weight).mean()

    plain = method.model.prepare(images).images
    torch.testing.assert_close(found["loss_classification"], 0.7 * entropy(plain), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(found["loss_restyled_classification"], 0.3 * entropy(hardest[0].images), rtol=1e-5,
                               atol=1e-5)
