"""Latent distillation against a few lines of autograd, for every prediction type."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from dg_project.core.errors import CheckpointError, ParameterError
from dg_project.diffusion.generator import Generator
from dg_project.methods.domainfusion import latent_distillation
from dg_project.methods.domainfusion.latent_distillation import (
    LatentDistiller,
    cached_slope,
    distillation_loss,
    exact_slope,
    noise_gap,
    noise_latents,
    predicted_noise,
)

PROMPTS = ["a photo of a car", "a photo of a bus"]
ALPHAS = torch.tensor([0.9, 0.3, 0.01])


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.fixture(scope="module")
def ldm(tiny_ldm: Path) -> Generator:
    return Generator.open(tiny_ldm)


def test_predicted_noise() -> None:
    clean, noise, alpha = draw(3, 4, 2, 2), draw(3, 4, 2, 2, seed=1), ALPHAS.view(3, 1, 1, 1)
    noisy = noise_latents(clean, noise, ALPHAS)
    torch.testing.assert_close(noisy, alpha**0.5 * clean + (1 - alpha) ** 0.5 * noise, atol=1e-5, rtol=0)
    outputs = {"epsilon": noise, "v_prediction": alpha**0.5 * noise - (1 - alpha) ** 0.5 * clean, "sample": clean}
    assert set(outputs) == set(latent_distillation.PREDICTIONS)
    for kind, output in outputs.items():
        torch.testing.assert_close(predicted_noise(output, noisy, ALPHAS, kind), noise, atol=1e-5, rtol=0)
    dark = predicted_noise(draw(1, 4, 2, 2), noisy[:1], torch.zeros(1), "v_prediction")  # zero terminal SNR
    torch.testing.assert_close(dark, noisy[:1])


def test_noise_gap() -> None:
    one, two = draw(3, 4, 2, 2), draw(3, 4, 2, 2, seed=1)
    for i, alpha in enumerate(ALPHAS):
        torch.testing.assert_close(noise_gap(one, two, ALPHAS)[i], (1 - alpha) * (one[i] - two[i]), atol=1e-5, rtol=0)


@pytest.mark.parametrize("exact", [False, True])
def test_distillation_skips_unet_jacobian(exact: bool) -> None:
    """``w (ε̂ − ε) ∂z/∂θ`` by autograd through the confidence of a linear classifier; the U-Net gets no gradient."""
    images, gap, labels = draw(3, 3, 4, 4).sigmoid(), draw(3, 2, 4, 4, seed=1), torch.tensor([0, 2, 1])
    kernel = draw(2, 3, 1, 1, seed=2)

    def encode(pixels: Tensor) -> Tensor:
        return torch.nn.functional.conv2d(2 * pixels - 1, kernel).tanh()

    weights = draw(48, 3, seed=3).requires_grad_()
    confidence = (images.flatten(1) @ weights).softmax(1)[torch.arange(3), labels]
    shade = confidence.view(-1, 1, 1, 1)
    latents = encode(shade * images) if exact else shade * encode(images)
    expected = torch.autograd.grad((gap * latents).flatten(1).sum(1).mean(), weights, retain_graph=True)[0]
    slope = exact_slope(gap, encode, images, confidence) if exact else cached_slope(gap, encode(images))
    loss = distillation_loss(confidence, slope)
    torch.testing.assert_close(torch.autograd.grad(loss, weights)[0], expected, atol=1e-5, rtol=1e-5)
    if not exact:  # L = mean_b p_b <g_b, E(x0)_b>
        value = sum(confidence[b] * (gap[b] * encode(images)[b]).sum() for b in range(3)) / 3
        torch.testing.assert_close(loss, value, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("exact", [False, True])
def test_slopes_instruct_pix2pix(ldm: Generator, exact: bool) -> None:
    """A v-prediction InstructPix2Pix checkpoint: encode, noise, predict with label and source latents, weight."""
    distiller, pipeline = LatentDistiller(ldm, PROMPTS, (16, 24), exact), ldm.pipeline
    images, labels, p = draw(2, 3, 16, 24).sigmoid(), torch.tensor([1, 0]), torch.tensor([0.3, 0.8])
    torch.manual_seed(5)
    found = distiller.slopes(list(images), labels, p)

    torch.manual_seed(5)
    t = torch.randint(20, 981, (2,))
    noise, leaf = torch.randn(2, 4, 4, 6), p.clone().requires_grad_()
    e = pipeline.vae.encode(2 * images - 1).latent_dist.mode().detach()
    z = pipeline.vae.encode(2 * leaf.view(-1, 1, 1, 1) * images - 1).latent_dist.mode() if exact else leaf.view(
        -1, 1, 1, 1) * e
    alpha = pipeline.scheduler.alphas_cumprod[t].view(-1, 1, 1, 1)
    noisy = alpha.sqrt() * z.detach() + (1 - alpha).sqrt() * noise
    text = pipeline._encode_prompt([PROMPTS[1], PROMPTS[0]], "cpu", 1, False)
    with torch.no_grad():
        v = pipeline.unet(torch.cat([noisy, e], 1), t, text).sample
    gap = (1 - alpha) * (alpha.sqrt() * v + (1 - alpha).sqrt() * noisy - noise)
    torch.testing.assert_close(found, torch.autograd.grad((gap * z).sum(), leaf)[0], atol=1e-5, rtol=1e-4)
    assert not found.requires_grad
    assert not any(weight.requires_grad for weight in pipeline.unet.parameters())


def test_each_image_is_encoded_once(ldm: Generator, monkeypatch: pytest.MonkeyPatch) -> None:
    distiller, encoded = LatentDistiller(ldm, PROMPTS, (16, 16)), []
    encode = distiller.encode
    monkeypatch.setattr(distiller, "encode", lambda images: encoded.append(len(images)) or encode(images))
    images, labels = list(draw(2, 3, 16, 16).sigmoid()), torch.tensor([0, 1])
    for _ in range(2):
        distiller.slopes([*images, images[0].flip(-1)], torch.tensor([0, 1, 0]), torch.ones(3))
    assert sum(encoded) == 3
    assert distiller.slopes(images, labels, torch.ones(2)).shape == (2,)


def test_distiller_enlarges_odd_sizes(ldm: Generator) -> None:
    assert LatentDistiller(ldm, PROMPTS, (33, 16)).size == (40, 16)


@pytest.mark.parametrize("name", ["tiny_img2img", "tiny_v_prediction"])
def test_slopes_stable_diffusion(request: pytest.FixtureRequest, name: str) -> None:
    """Stable Diffusion 1.5 predicts the noise, 2.1 (768) a velocity that is converted to the noise."""
    ldm = Generator.open(request.getfixturevalue(name))
    image, p, pipeline = draw(1, 3, 16, 24).sigmoid(), torch.tensor([0.4]), ldm.pipeline
    torch.manual_seed(5)
    found = LatentDistiller(ldm, PROMPTS, (16, 24)).slopes(list(image), torch.tensor([1]), p)

    torch.manual_seed(5)
    t, noise = torch.randint(20, 981, (1,)), torch.randn(1, 4, 4, 6)
    alpha = pipeline.scheduler.alphas_cumprod[t].view(1, 1, 1, 1)
    with torch.no_grad():
        clean = pipeline.vae.encode(2 * image - 1).latent_dist.mode() * pipeline.vae.config.scaling_factor
        noisy = alpha.sqrt() * p * clean + (1 - alpha).sqrt() * noise
        answer = pipeline.unet(noisy, t, pipeline.encode_prompt([PROMPTS[1]], "cpu", 1, False)[0]).sample
    if name == "tiny_v_prediction":
        answer = alpha.sqrt() * answer + (1 - alpha).sqrt() * noisy
    torch.testing.assert_close(found, ((1 - alpha) * (answer - noise) * clean).sum()[None], atol=1e-5, rtol=1e-4)


def test_distiller_refuses_checkpoint(tmp_path: Path, tiny_ldm: Path, tiny_inpaint: Path,
                                      tiny_sdxl: Path, ldm: Generator) -> None:
    mute: Any = Generator.open(tiny_ldm)
    mute.pipeline.text_encoder = None
    with pytest.raises(ParameterError, match="no text encoder"):
        LatentDistiller(mute, PROMPTS, (16, 16))
    for folder in (tiny_inpaint, tiny_sdxl):
        with pytest.raises(ParameterError, match="cannot use a StableDiffusion"):
            LatentDistiller(Generator.open(folder), PROMPTS, (16, 16))
    folder = tmp_path / "mute"
    ldm.pipeline.save_pretrained(folder)
    index = folder / "model_index.json"
    index.write_text(index.read_text().replace('"transformers",\n    "CLIPTextModel"', "null,\n    null"))
    with pytest.raises(CheckpointError, match="it has no text encoder"):
        Generator.open(folder)
