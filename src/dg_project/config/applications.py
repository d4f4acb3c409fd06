"""Parameters of prediction, export and of pretraining the embedded models."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self, get_args

from pydantic import AfterValidator, Field, field_validator, model_validator

from dg_project.config.base import Fraction, OptionalPath, Params, ProjectPath, each_once, listed

PredictionFormat = Literal["drawn", "masks", "coco", "csv"]
ExportFormat = Literal["onnx", "torch_export", "mlflow"]


def _from_command_line(value: Any) -> Any:
    """Parse a list without commas, with or without brackets: ``onnx+mlflow``, ``[onnx]`` or ``onnx``."""
    return listed(value.strip("[]") if isinstance(value, str) else value)


class PredictParams(Params):
    """Prediction of images or a video with a trained model."""

    input: OptionalPath = Field(None, description="folder of images | .txt list of images | video file")
    model: OptionalPath = Field(None, description="folder of a trained model; None: the newest 'model' of the catalog")
    formats: list[PredictionFormat] | None = Field(None, description="None: all formats of the task")
    score_threshold: Fraction = 0.5
    batch_size: int = Field(4, ge=1)
    every: int = Field(1, ge=1, description="predict every n-th frame of a video")
    on_bad_sample: Literal["stop", "skip"] = Field("stop", description="stop at a broken image, or skip it")

    @field_validator("formats", mode="before")
    @classmethod
    def _formats(cls, value: Any) -> Any:
        return _from_command_line(value)


class ExportParams(Params):
    """Export of a trained model to other formats."""

    model: OptionalPath = Field(None, description="folder of a trained model; None: the newest 'model' of the catalog")
    format: Annotated[list[ExportFormat], AfterValidator(each_once)] = Field(["onnx"], min_length=1)
    parity_images: int = Field(20, ge=1, description="source test images on which both models must agree")

    @field_validator("format", mode="before")
    @classmethod
    def _format(cls, value: Any) -> Any:
        return _from_command_line(value)


Weather = Literal["day", "night", "dusk", "fog", "rain", "snow"]


class PretrainTeacherParams(Params):
    """Training of the embedded CLIP-like teacher."""

    corpus: ProjectPath = "data/01_raw/streets_corpus"
    weathers: list[Weather] = Field(min_length=1, default=list(get_args(Weather)),
                                    description="weather conditions of the training frames")
    size: int = Field(128, ge=2, description="embedding dimension")
    hidden: int = Field(256, ge=2, description="hidden units of the image branch")
    dropout: Fraction = Field(0.5, description="dropout of image features in training")
    margin: float = Field(0.2, ge=0, description="margin of a crop around its box, in box sides")
    min_side: int = Field(12, ge=1, description="objects whose longer side has fewer pixels are skipped")
    steps: int = Field(1000, ge=1)
    batch_size: int = Field(128, ge=2)
    lr: float = Field(1e-3, gt=0)
    weight_decay: float = Field(0.05, ge=0)
    weather_texts: Fraction = Field(0.5, description="share of sentences that also name the weather")
    seed: int = Field(0, ge=0)
    device: str = "auto"


class PretrainLDMParams(Params):
    """Training of the embedded tiny diffusion model."""

    corpus: ProjectPath = "data/01_raw/streets_corpus"
    start: OptionalPath = Field(None, description="output folder of an earlier run: reuse its autoencoder and "
                                                "denoiser, and train only the critic's stage")
    vae_crop: tuple[int, int] = Field((64, 96), description="height, width of the autoencoder's training crops")
    crop: tuple[int, int] = Field((96, 160), description="height, width of the U-Net's training crops")
    vae_channels: tuple[int, int, int] = Field((24, 48, 96), description="at least 12, 48 and 4 * latent_channels")
    unet_channels: list[int] = Field([48, 96, 128, 160], min_length=2, description="multiples of 8; text enters last")
    text_dim: int = Field(128, ge=8)
    latent_channels: int = Field(8, ge=1)
    linear_steps: int = Field(400, ge=2, description="steps of the linear fit that initialises the autoencoder")
    vae_steps: int = Field(1200, ge=1)
    unet_steps: int = Field(7000, ge=1)
    critic_steps: int = Field(2500, ge=0, description="steps of the last stage, for the first sampling step")
    critic_weight: float = Field(0.5, ge=0, description="weight of the critic relative to the distance to the frame")
    vae_batch_size: int = Field(4, ge=1)
    unet_dtype: Literal["float32", "bfloat16"] = Field("bfloat16", description="dtype of convolutions and products")
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


class PretrainFolderLDMParams(Params):
    """Training of diffusion models on image folders ``<domain>/<class>/<image>`` below ``data.root``."""

    domains: list[str] | None = Field(None, description="None: every folder of data.root")
    held_out: list[str] | Literal["each"] | None = Field(
        None, description="one model per name, trained on the other domains; each: every domain in turn; None: one "
                          "model of all domains")
    classes: list[str] | None = Field(None, description="None: all class folders")
    captions: list[str] = Field(["a {domain} of a {class}", "a {domain}", "a picture of a {class}"], min_length=1,
                                description="templates, one drawn per image and step; the first names both")
    size: int = Field(96, ge=16, description="sides of the training images; a multiple of what the networks halve")
    images_per_domain: int | None = Field(1000, ge=2, description="most training images of a domain; None: all")
    vae_start: OptionalPath = Field("data/06_models/tiny_ldm", description="LDM whose autoencoder is fine-tuned; None: "
                                                                           "train one from scratch")
    vae_channels: tuple[int, int, int] = Field((24, 48, 96), description="from scratch; see pretrain_ldm")
    latent_channels: int = Field(8, ge=1, description="from scratch")
    linear_steps: int = Field(400, ge=2, description="from scratch: steps of the linear fit that it starts from")
    vae_steps: int = Field(400, ge=1)
    vae_crop: int = Field(64, ge=8, description="sides of the autoencoder's training crops")
    vae_batch_size: int = Field(4, ge=1)
    vae_lr: float = Field(1e-3, gt=0)
    unet_channels: list[int] = Field([48, 96, 128, 160], min_length=2, description="multiples of 8; text enters last")
    text_dim: int = Field(128, ge=8)
    unet_steps: int = Field(1300, ge=1)
    unet_dtype: Literal["float32", "bfloat16"] = Field("bfloat16", description="dtype of convolutions and products")
    batch_size: int = Field(12, ge=1)
    lr: float = Field(1e-3, gt=0)
    checkpoint_every: int = Field(200, ge=1)
    seed: int = 0
    device: str = "auto"
    threads: int | None = Field(None, ge=1)

    _listed = field_validator("domains", "classes", "captions", mode="before")(listed)

    @field_validator("held_out", mode="before")
    @classmethod
    def _names(cls, value: Any) -> Any:
        return value if value == "each" else listed(value)

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if any(name not in self.captions[0] for name in ("{domain}", "{class}")):
            raise ValueError(f"captions: the first template '{self.captions[0]}' must name {{domain}} and {{class}}")
        multiple = 2 ** (len(self.unet_channels) - 1) * 2 ** (len(self.vae_channels) - 1)
        if self.size % multiple or self.vae_crop > self.size or self.vae_crop % 4:
            raise ValueError(f"size {self.size} must be a multiple of {multiple} (both networks halve it), and "
                             f"vae_crop {self.vae_crop} a multiple of 4 that is not larger")
        return self
