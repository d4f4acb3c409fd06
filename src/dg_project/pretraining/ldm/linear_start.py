"""Initialise the autoencoder as the best linear one.

From random weights an ``AutoencoderKL`` needs thousands of steps to transmit as much as a linear map does from the
start. So a linear autoencoder with the same resampling (a quarter of the size, nearest-neighbour upsampling) is fitted
first, which takes a minute, and written into the layers of the real one:

* every residual branch ends in zeros, so each block equals its shortcut;
* half of the channels before an output norm are constants, so its divisor does not depend on the image;
* the following activation cancels in pairs of channels: ``silu(x) - silu(-x) = x``.

Training then only has to add the nonlinear part.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL
from diffusers.models.resnet import ResnetBlock2D
from torch import Tensor, nn

FACTOR = 4
BATCH_SIZE = 16
CONSTANT = 1.0
LOUDNESS = 0.1
"""Size of the signals next to constants of size 1 in a norm, so that they hardly change its divisor."""
LOG_VARIANCE = -8.0


class LinearAutoencoder(nn.Module):
    """Linear map from images ``(N, 3, H, W)`` to latents ``(N, L, H/4, W/4)`` and back.

    Args:
        latent_channels: L.
        cells: channels per 4 x 4 block, before neighbouring blocks are combined.
        widths: channels at a quarter, half and full size (before the last layer).
    """

    def __init__(self, latent_channels: int, cells: int, widths: tuple[int, int, int]) -> None:
        super().__init__()
        quarter, half, full = widths
        self.block = nn.Conv2d(3 * FACTOR**2, cells, 1, bias=False)
        self.analysis = nn.Conv2d(cells, latent_channels, 3, padding=1)
        self.at_quarter = nn.Conv2d(latent_channels, quarter, 3, padding=1, bias=False)
        self.at_half = nn.Conv2d(quarter, half, 3, padding=1, bias=False)
        self.at_full = nn.Conv2d(half, full, 3, padding=1, bias=False)
        self.synthesis = nn.Conv2d(full, 3, 3, padding=1)

    def signals(self, images: Tensor) -> Tensor:
        """Return the inputs of ``analysis``, ``(N, cells, H/4, W/4)``."""
        blocks: Tensor = self.block(F.pixel_unshuffle(images, FACTOR))
        return blocks

    def decode_signals(self, latents: Tensor) -> Tensor:
        """Return the inputs of ``synthesis``, ``(N, full, H, W)``."""
        half = self.at_half(F.interpolate(self.at_quarter(latents), scale_factor=2.0))
        full: Tensor = self.at_full(F.interpolate(half, scale_factor=2.0))
        return full

    def forward(self, images: Tensor) -> Tensor:
        """Return the reconstructed images."""
        reconstructed: Tensor = self.synthesis(self.decode_signals(self.analysis(self.signals(images))))
        return reconstructed


def principal_blocks(images: Tensor, count: int) -> Tensor:
    """Return the ``count`` strongest principal components ``(count, 48)`` of 4 x 4 blocks of images (N, 3, H, W)."""
    blocks = F.pixel_unshuffle(images, FACTOR).permute(0, 2, 3, 1).reshape(-1, 3 * FACTOR**2)
    return torch.linalg.eigh(torch.cov(blocks.T)).eigenvectors.flip(1)[:, :count].T


def start_linear(vae: AutoencoderKL, sample: Callable[[int], Tensor], steps: int, seed: int) -> None:
    """Initialise an autoencoder with the weights of the best linear one.

    Args:
        vae: autoencoder from ``build_vae``, with widths of at least 12, 48 and four times the latent channels.
        sample: step -> images (N, 3, H, W) in -1..1.
        steps: number of fitting steps.
        seed: random seed of the linear autoencoder.
    """
    small, middle, large = vae.config.block_out_channels
    # A quarter of the widest layer and a third of the narrowest: a signal takes two channels, constants the rest.
    widths = (large, min(middle, large), small // 3)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        linear = LinearAutoencoder(vae.config.latent_channels, large // 4, widths)
    fit(linear, sample, steps)
    write_into(linear.to(vae.device), vae, sample(0).to(vae.device))


def fit(linear: LinearAutoencoder, sample: Callable[[int], Tensor], steps: int) -> None:
    """Minimise ``mean (x̂ - x)²``, starting from the principal components of the blocks.

    Args:
        linear: autoencoder to fit.
        sample: step -> images (N, 3, H, W) in -1..1.
        steps: number of steps; the learning rate falls to zero.
    """
    with torch.no_grad():
        linear.block.weight.copy_(principal_blocks(sample(0), len(linear.block.weight))[:, :, None, None])
        nn.init.dirac_(linear.analysis.weight)
    optimizer = torch.optim.Adam(linear.parameters(), lr=3e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 3e-3, total_steps=steps, pct_start=0.1)
    for step in range(steps):
        images = sample(step)
        optimizer.zero_grad()
        (linear(images) - images).square().mean().backward()
        optimizer.step()
        schedule.step()


@torch.no_grad()
def write_into(linear: LinearAutoencoder, vae: AutoencoderKL, images: Tensor) -> None:
    """Set the weights of the autoencoder so that it computes the same as the linear one.

    Args:
        linear: fitted linear autoencoder.
        vae: autoencoder from ``build_vae``: three levels, one norm group.
        images: ``(N, 3, H, W)`` in -1..1, to measure the size of the signals.
    """
    for block in vae.modules():
        if isinstance(block, ResnetBlock2D):
            nn.init.zeros_(block.conv2.weight)
            nn.init.zeros_(block.conv2.bias)
    signals = linear.signals(images)
    latents = linear.analysis(signals)
    encoder, decoder = vae.encoder, vae.decoder
    _copy(encoder.conv_in, torch.eye(3)[:, :, None, None])
    first, second, last = encoder.down_blocks
    _copy(first.downsamplers[0].conv, _space_to_depth(3))
    _copy(second.resnets[0].conv_shortcut, torch.eye(12)[:, :, None, None])
    _copy(second.downsamplers[0].conv, _space_to_depth(12))
    # Two halvings order a block's pixels differently from one pixel_unshuffle.
    order = F.pixel_unshuffle(F.pixel_unshuffle(torch.arange(48.0).view(1, 3, 4, 4), 2), 2).flatten().long()
    direct = F.pixel_unshuffle(torch.arange(48.0).view(1, 3, 4, 4), 4).flatten().long()
    position = torch.empty_like(order).scatter_(0, direct, torch.arange(48))[order]
    _write_output(last.resnets[0].conv_shortcut, linear.block.weight[:, position], encoder.conv_out, linear.analysis,
                  signals)
    _copy(vae.quant_conv, torch.eye(latents.shape[1])[:, :, None, None])
    vae.quant_conv.bias[latents.shape[1]:] = LOG_VARIANCE

    _copy(vae.post_quant_conv, torch.eye(latents.shape[1])[:, :, None, None])
    lowest, middle, highest = decoder.up_blocks
    _copy(decoder.conv_in, linear.at_quarter.weight)
    _copy(lowest.upsamplers[0].conv, linear.at_half.weight)
    half = len(linear.at_half.weight)
    _copy(middle.resnets[0].conv_shortcut, torch.eye(half)[:, :, None, None])
    _copy(middle.upsamplers[0].conv, linear.at_full.weight)
    full = len(linear.at_full.weight)
    _write_output(highest.resnets[0].conv_shortcut, torch.eye(full)[:, :, None, None], decoder.conv_out,
                  linear.synthesis, linear.decode_signals(latents))


def _copy(layer: nn.Conv2d, weight: Tensor, bias: Tensor | None = None) -> None:
    """Write a smaller kernel into the centre of a layer's first channels, and zeros elsewhere."""
    outputs, inputs, height, width = weight.shape
    top, left = ((layer.weight.shape[dim] - side) // 2 for dim, side in ((2, height), (3, width)))
    nn.init.zeros_(layer.weight)
    layer.weight[:outputs, :inputs, top:top + height, left:left + width] = weight
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
        if bias is not None:
            layer.bias[:outputs] = bias


def _space_to_depth(channels: int) -> Tensor:
    """Return the 3 x 3 kernel of a strided convolution (padded right and below) that equals ``pixel_unshuffle``."""
    weight = torch.zeros(4 * channels, channels, 3, 3)
    for channel in range(channels):
        for y in range(2):
            for x in range(2):
                weight[4 * channel + 2 * y + x, channel, y, x] = 1
    return weight


def _write_output(producer: nn.Conv2d, weight: Tensor, output: nn.Conv2d, linear: nn.Conv2d, signals: Tensor) -> None:
    """Make ``output(silu(norm(producer(x))))`` equal to ``linear(weight x)``.

    Args:
        producer: 1 x 1 convolution before the norm.
        weight: ``(S, inputs, 1, 1)``, kernel of the S signals.
        output: convolution after norm and activation.
        linear: convolution to apply to the signals.
        signals: ``(N, S, h, w)``, to measure their size.
    """
    count, channels = len(weight), len(producer.weight)
    scale = LOUDNESS / signals.square().mean().sqrt()
    _copy(producer, torch.cat([scale * weight, -scale * weight]))
    constants = channels - 2 * count
    assert producer.bias is not None
    assert linear.bias is not None
    producer.bias[2 * count:] = CONSTANT * torch.tensor([1.0, -1.0]).repeat(constants)[:constants]
    divisor = (constants * CONSTANT**2 + 2 * count * LOUDNESS**2) ** 0.5 / channels**0.5
    _copy(output, torch.cat([linear.weight, -linear.weight], 1) * divisor / scale, linear.bias)
