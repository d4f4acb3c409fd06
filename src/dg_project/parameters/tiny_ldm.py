"""The recipe of the embedded diffusion model."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from dg_project.parameters.base import Params


class PretrainLDMParams(Params):
    """The recipe of the embedded tiny diffusion model."""

    corpus: str = "data/01_raw/streets_corpus"
    start: str | None = Field(None, description="a folder that an earlier run wrote: its autoencoder and denoiser are "
                                                "taken as they are, and only the critic's stage is trained")
    vae_crop: tuple[int, int] = Field((64, 96), description="height, width that the autoencoder trains on")
    crop: tuple[int, int] = Field((96, 160), description="height, width that the U-Net trains on")
    vae_channels: tuple[int, int, int] = Field((24, 48, 96), description="at least 12, 48 and 4 * latent_channels")
    unet_channels: list[int] = Field([48, 96, 128, 160], min_length=2, description="multiples of 8; text enters last")
    text_dim: int = Field(128, ge=8)
    latent_channels: int = Field(8, ge=1)
    linear_steps: int = Field(400, ge=2, description="to fit the linear autoencoder that the autoencoder starts as")
    vae_steps: int = Field(1200, ge=1)
    unet_steps: int = Field(7000, ge=1)
    critic_steps: int = Field(2500, ge=0, description="of the last stage, which is about the first step of sampling")
    critic_weight: float = Field(0.5, ge=0, description="of the critic beside the distance to the frame")
    vae_batch_size: int = Field(4, ge=1)
    unet_dtype: Literal["float32", "bfloat16"] = Field("bfloat16", description="of its convolutions and products")
    batch_size: int = Field(12, ge=1)
    vae_lr: float = Field(1e-3, gt=0)
    lr: float = Field(1e-3, gt=0)
    critic_lr: float = Field(2e-4, gt=0)
    checkpoint_every: int = Field(200, ge=1)
    seed: int = 0
    device: str = "auto"
    threads: int | None = Field(None, ge=1)


    @model_validator(mode="after")
    def _wide_enough(self) -> Self:
        least = (12, 48, 4 * self.latent_channels)
        if any(width < needed for width, needed in zip(self.vae_channels, least, strict=True)):
            raise ValueError(f"vae_channels {list(self.vae_channels)} are too few for a linear start: at least 12, 48 "
                             f"and 4 * latent_channels = {least[2]}")
        return self
