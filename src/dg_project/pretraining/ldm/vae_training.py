"""Train the autoencoder (a quarter of the image size) and normalise its latents."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL
from torch import Tensor, nn

from dg_project.diffusion.latents import scaled_latents
from dg_project.pretraining.ldm.corpus import Group, box_weights, crop_corner

KL_WEIGHT = 1e-6
EDGE_WEIGHT = 1.0
COLOUR_WEIGHT = 30.0
INSIDE_BOXES = 3.0


def vae_losses(vae: AutoencoderKL, images: Tensor, weights: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
    """Return the losses of the autoencoder.

    ``mean w·|e|  +  mean w·|∇e|  +  30 · mean w·(e − grey(e))²  +  1e-6 · KL(q(z|x) ‖ N(0, 1))`` with ``e = x̂ − x``,
    grey the mean over RGB and one posterior sample per image. The third term is squared because most pixels are nearly
    grey: an absolute error, minimised by the median, would keep all images grey for a long time.

    Args:
        vae: autoencoder.
        images: ``(N, 3, H, W)`` in -1..1.
        weights: ``(N, 1, H, W)``, higher inside boxes.
        generator: random generator of the posterior noise.
    """
    posterior = vae.encode(images).latent_dist
    noise = torch.randn(posterior.mean.shape, generator=generator).to(images)
    error = vae.decode(posterior.mean + posterior.std * noise).sample - images
    edges = sum(
        (weights[..., :-1, :-1] * error.diff(dim=d)[..., : error.shape[-2] - 1, : error.shape[-1] - 1].abs()).mean()
        for d in (-2, -1)
    )
    kl = 0.5 * (posterior.mean.square() + posterior.var - 1 - posterior.logvar).mean()
    colour = (weights * (error - error.mean(1, keepdim=True)).square()).mean()
    return {
        "loss_l1": (weights * error.abs()).mean(),
        "loss_edges": EDGE_WEIGHT * edges,
        "loss_colour": COLOUR_WEIGHT * colour,
        "loss_kl": KL_WEIGHT * kl,
    }


def crop_sampler(
    groups: list[Group], crop: tuple[int, int], batch_size: int
) -> Callable[[torch.Generator], tuple[Tensor, Tensor]]:
    """Return a function generator -> (images ``(N, 3, h, w)`` in -1..1, weights ``(N, 1, h, w)``)."""
    frames = [group.frames for group in groups]
    weights = [box_weights(group, 1, INSIDE_BOXES) for group in groups]

    def sample(generator: torch.Generator) -> tuple[Tensor, Tensor]:
        images, maps = [], []
        for _ in range(batch_size):
            g = int(torch.randint(len(groups), (), generator=generator))
            f = int(torch.randint(len(frames[g]), (), generator=generator))
            y, x = crop_corner(groups[g].boxes, (frames[g].shape[-2], frames[g].shape[-1]), crop, 1, generator)
            window = (..., slice(y, y + crop[0]), slice(x, x + crop[1]))
            flip = [-1] if torch.rand((), generator=generator) < 0.5 else []
            images.append(frames[g][f][window].flip(flip))
            maps.append(weights[g][window].flip(flip))
        return torch.stack(images) / 127.5 - 1, torch.stack(maps)[:, None]

    return sample


@torch.no_grad()
def normalise_latents(vae: AutoencoderKL, images: Tensor) -> tuple[Tensor, Tensor]:
    """Fold mean and deviation into the 1x1 convolutions, so that latents of ``images`` have mean 0 and deviation 1.

    Unit-variance noise then affects all channels equally, and ``scaling_factor`` is 1, so it does not matter that
    InstructPix2Pix passes *unscaled* source latents to the U-Net.

    Returns:
        The mean and deviation ``(C,)`` that were folded in.
    """
    latents = encode(vae, images).transpose(0, 1).flatten(1)
    mean, std = latents.mean(1), latents.std(1)
    into, out = vae.quant_conv, vae.post_quant_conv
    assert isinstance(into, nn.Conv2d)
    assert isinstance(out, nn.Conv2d)
    into_weight, into_bias, out_bias = into.weight, into.bias, out.bias
    assert into_bias is not None
    assert out_bias is not None
    out_bias += (out.weight[:, :, 0, 0] * mean).sum(1)
    out.weight *= std[None, :, None, None]
    channels = len(mean)
    into_weight[:channels] /= std[:, None, None, None]
    into_bias[:channels] = (into_bias[:channels] - mean) / std
    into_bias[channels:] -= 2 * std.log()
    return mean, std


@torch.no_grad()
def encode(vae: AutoencoderKL, images: Tensor) -> Tensor:
    """Encode uint8 images ``(N, 3, H, W)`` to CPU latents ``(N, C, H/f, W/f)``, one by one to save memory."""
    device = next(vae.parameters()).device
    return torch.cat([scaled_latents(vae, image[None].to(device) / 127.5 - 1).cpu() for image in images])


@torch.no_grad()
def decode(vae: AutoencoderKL, latents: Tensor) -> Tensor:
    """Decode normalised latents ``(N, C, h, w)`` to uint8 images ``(N, 3, H, W)`` on the CPU."""
    device = next(vae.parameters()).device
    pixels = torch.cat([vae.decode(z[None].to(device)).sample.cpu() for z in latents])
    return ((pixels + 1) * 127.5).round().clamp(0, 255).to(torch.uint8)


def psnr(a: Tensor, b: Tensor) -> float:
    """Return the peak signal-to-noise ratio in dB of two uint8 image tensors of the same shape."""
    return float(10 * torch.log10(255**2 / F.mse_loss(a.float(), b.float())))
