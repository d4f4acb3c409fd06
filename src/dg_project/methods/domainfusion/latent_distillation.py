"""Latent distillation (DomainFusion): score images scaled by the classifier's confidence with a diffusion model.

``x(θ) = p_θ(y|x0) · x0`` is encoded and noised, the frozen U-Net predicts the noise with the label as prompt, and the
gradient ``w(t) (ε̂ − ε) · ∂z/∂θ`` flows into the classifier, skipping the U-Net. Only the confidence p depends on θ, so
the diffusion model contributes one number per image: the slope ``∂L/∂p``.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor

from dg_project.core.errors import ParameterError

if TYPE_CHECKING:
    from dg_project.diffusion.generator import Generator

PREDICTIONS = ("epsilon", "v_prediction", "sample")
MARGIN = 0.02
"""Share of the timesteps left out at each end: ``t ~ U{20..980}`` of 1000."""
CACHE_BYTES = 1 << 29


def noise_latents(latents: Tensor, noise: Tensor, alpha_bar: Tensor) -> Tensor:
    """Return ``√ᾱ z + √(1 − ᾱ) ε`` for latents and noise ``(B, C, h, w)`` and ``alpha_bar`` ``(B,)``."""
    alpha_bar = alpha_bar.view(-1, 1, 1, 1)
    return alpha_bar.sqrt() * latents + (1 - alpha_bar).sqrt() * noise


def predicted_noise(output: Tensor, noisy: Tensor, alpha_bar: Tensor, prediction: str) -> Tensor:
    """Convert the output of a U-Net to the predicted noise ``ε̂``.

    ``epsilon``: unchanged. ``v_prediction``: ``√ᾱ v + √(1 − ᾱ) z_t``, finite at zero terminal SNR too. ``sample``:
    ``(z_t − √ᾱ ẑ) / √(1 − ᾱ)``.

    Args:
        output: ``(B, C, h, w)`` output of the U-Net.
        noisy: ``z_t`` ``(B, C, h, w)``.
        alpha_bar: ``(B,)``.
        prediction: one of ``PREDICTIONS``.
    """
    if prediction == "epsilon":
        return output
    alpha_bar = alpha_bar.view(-1, 1, 1, 1)
    if prediction == "v_prediction":
        return alpha_bar.sqrt() * output + (1 - alpha_bar).sqrt() * noisy
    return (noisy - alpha_bar.sqrt() * output) / (1 - alpha_bar).sqrt()


def noise_gap(predicted: Tensor, noise: Tensor, alpha_bar: Tensor) -> Tensor:
    """Return ``g = w(t) (ε̂ − ε)``, ``w(t) = 1 − ᾱ_t``; noises ``(B, C, h, w)``, ``alpha_bar`` ``(B,)``."""
    return (1 - alpha_bar).view(-1, 1, 1, 1) * (predicted - noise)


def cached_slope(gap: Tensor, clean: Tensor) -> Tensor:
    """Return ``∂L/∂p = ⟨g, E(x0)⟩`` ``(B,)`` for ``z = p · E(x0)``; gap and clean latents ``(B, C, h, w)``."""
    return (gap * clean).flatten(1).sum(1)


def exact_slope(gap: Tensor, encode: Callable[[Tensor], Tensor], images: Tensor, confidence: Tensor) -> Tensor:
    """Return ``∂L/∂p = ⟨g, ∂E(p · x0)/∂p⟩`` ``(B,)``, through the encoder.

    Args:
        gap: ``(B, C, h, w)``.
        encode: E, images ``(B, 3, H, W)`` in 0..1 -> latents; must treat images independently.
        images: x0 ``(B, 3, H, W)``.
        confidence: p ``(B,)``.
    """
    with torch.enable_grad():
        leaf = confidence.detach().clone().requires_grad_()
        latents = encode(leaf.view(-1, 1, 1, 1) * images)
        return torch.autograd.grad((gap.detach() * latents).sum(), leaf)[0]


def distillation_loss(confidence: Tensor, slope: Tensor) -> Tensor:
    """Return ``L_LD = mean_b p_b · ∂L/∂p_b``; its gradient is that of the distillation, the slope gets none.

    Args:
        confidence: p ``(B,)``, with its graph.
        slope: ``(B,)``.
    """
    return (confidence * slope.detach()).mean()


class LatentDistiller:
    """Compute slopes ``∂L/∂p`` with a frozen diffusion model.

    A U-Net that also takes source latents (InstructPix2Pix, like the embedded model) gets ``E(x0)`` of the undimmed
    image: conditioned on *this very object*, its noise prediction shows what the dimmed image lacks. Classifier-free
    guidance is off.

    Args:
        ldm: opened diffusion model.
        prompts: one text per class.
        size: height and width of the images; the networks see the next larger sizes that they can halve, or larger
            ones if the model has a ``resolution``.
        exact: differentiate through the encoder instead of using ``z = p · E(x0)``, which encodes each image once.

    Raises:
        ParameterError: the checkpoint is not of Stable Diffusion's kind.
    """

    def __init__(self, ldm: Generator, prompts: Sequence[str], size: tuple[int, int], exact: bool = False) -> None:
        _check(ldm.pipeline)
        self.pipeline, self.device, self.exact = ldm.pipeline, ldm.device, exact
        for network in (self.pipeline.vae, self.pipeline.unet, self.pipeline.text_encoder):
            network.requires_grad_(False).eval()
        factor = max(1.0, ldm.resolution / min(size)) if ldm.resolution else 1.0
        cell = 2 ** sum(len(network.config.block_out_channels) - 1 for network in (ldm.pipeline.vae, ldm.pipeline.unet))
        height, width = (math.ceil(round(side * factor) / cell) * cell for side in size)
        self.size = (height, width)
        self._texts = self._encode_texts(prompts)
        self._cache: dict[bytes, Tensor] = {}
        self._room = CACHE_BYTES

    @torch.no_grad()
    def slopes(self, images: Sequence[Tensor], labels: Tensor, confidence: Tensor) -> Tensor:
        """Return ``∂L/∂p`` ``(B,)`` at random timesteps and noise from torch's generator.

        Args:
            images: B images (3, h, w) in 0..1.
            labels: ``(B,)`` int64, 0-based.
            confidence: p ``(B,)``; gets no gradient.
        """
        pixels = torch.cat([self._resize(image) for image in images])
        clean = self._clean(pixels)
        darkness = confidence.detach().view(-1, 1, 1, 1)
        latents = self.encode(darkness * pixels) if self.exact else darkness * clean
        alphas = self.pipeline.scheduler.alphas_cumprod
        first = round(MARGIN * len(alphas))
        timesteps = torch.randint(first, len(alphas) - first + 1, (len(latents),))
        alpha_bar = alphas[timesteps].to(latents)
        noise = torch.randn(latents.shape).to(latents)
        noisy = noise_latents(latents, noise, alpha_bar)
        output = self._unet_output(noisy, clean, timesteps.to(self.device), labels)
        prediction = self.pipeline.scheduler.config.prediction_type
        gap = noise_gap(predicted_noise(output, noisy, alpha_bar, prediction), noise, alpha_bar)
        return exact_slope(gap, self.encode, pixels, confidence) if self.exact else cached_slope(gap, clean)

    def encode(self, images: Tensor) -> Tensor:
        """Return the scaled latents (distribution modes, float32) of images ``(B, 3, H, W)`` in 0..1."""
        vae = self.pipeline.vae
        latents = vae.encode((2 * images - 1).to(vae.dtype)).latent_dist.mode()
        return (latents * vae.config.scaling_factor).float()

    def _unet_output(self, noisy: Tensor, clean: Tensor, timesteps: Tensor, labels: Tensor) -> Tensor:
        unet = self.pipeline.unet
        if unet.config.in_channels == 2 * noisy.shape[1]:
            noisy = torch.cat([noisy, clean / self.pipeline.vae.config.scaling_factor], 1)
        texts = self._texts[labels.to(self._texts.device)]
        return unet(noisy.to(unet.dtype), timesteps, encoder_hidden_states=texts, return_dict=False)[0].float()

    def _clean(self, pixels: Tensor) -> Tensor:
        """Return E(x0) of every image, from the cache if possible."""
        return torch.stack([self._cached(image) for image in pixels])

    def _cached(self, image: Tensor) -> Tensor:
        key = _digest(image)
        if key not in self._cache:
            latents = self.encode(image[None])[0]
            if latents.nbytes > self._room:
                return latents
            self._room -= latents.nbytes
            self._cache[key] = latents
        return self._cache[key]

    def _resize(self, image: Tensor) -> Tensor:
        resized = F.interpolate(image[None].float(), self.size, mode="bilinear", antialias=True)
        return resized.to(self.device).clamp(0, 1)

    @torch.no_grad()
    def _encode_texts(self, prompts: Sequence[str]) -> Tensor:
        """Return ``(classes, tokens, width)``."""
        tokenizer, encoder = self.pipeline.tokenizer, self.pipeline.text_encoder
        tokens = tokenizer(list(prompts), padding="max_length", max_length=tokenizer.model_max_length, truncation=True,
                           return_tensors="pt").input_ids
        return encoder(tokens.to(self.device))[0].to(self.pipeline.unet.dtype)


def _digest(image: Tensor) -> bytes:
    return hashlib.blake2b(image.cpu().contiguous().numpy().tobytes(), digest_size=16).digest()


def _check(pipeline: Any) -> None:
    """Raise ``ParameterError`` for a checkpoint that cannot predict the noise of an image given a text."""
    remedy = "set domainfusion.lambda_ld: 0, or ldm.checkpoint to a Stable Diffusion or InstructPix2Pix"
    if getattr(pipeline, "text_encoder", None) is None or getattr(pipeline, "tokenizer", None) is None:
        raise ParameterError("latent distillation needs the label as prompt, but the diffusion model has no text "
                             f"encoder: {remedy}")
    latent, taken = pipeline.vae.config.latent_channels, pipeline.unet.config.in_channels
    if getattr(pipeline, "text_encoder_2", None) is not None or taken not in (latent, 2 * latent):
        raise ParameterError(f"latent distillation cannot use a {type(pipeline).__name__} (its U-Net takes {taken} "
                             f"channels): {remedy}")
    config = pipeline.scheduler.config
    if not hasattr(pipeline.scheduler, "alphas_cumprod") or config.get("prediction_type") not in PREDICTIONS:
        name = type(pipeline.scheduler).__name__
        raise ParameterError(f"latent distillation cannot read the noise schedule of {name}: {remedy}")
