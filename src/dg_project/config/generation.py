"""Parameters of the diffusion model, of synthesis and of the selection of pseudo images."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, field_validator, model_validator

from dg_project.config.base import (
    Checkpoint,
    Fraction,
    OptionalCheckpoint,
    OptionalPath,
    Params,
    listed,
    without_removed,
)


class ControlNetParams(Params):
    """The ControlNet of the mode ``controlnet``."""

    checkpoint: OptionalCheckpoint = Field(None, description="folder or hub name of a ControlNetModel; None: the "
                                                             "checkpoint's")
    condition: Literal["edges", "segmentation"] = Field("edges", description="kind of condition that it was trained on")
    palette: Literal["ade20k", "cityscapes"] = Field("ade20k", description="class colours of the segmentation")
    scale: float = Field(1.0, ge=0, description="conditioning scale")
    end: Fraction = Field(1.0, description="share of the denoising steps that are conditioned")


class InpaintParams(Params):
    """The mode ``inpaint``, which treats labelled boxes separately."""

    box_strength: Fraction = Field(0.3, description="strength inside boxes; 0 keeps their source pixels exactly")


class InversionParams(Params):
    """DDIM inversion, the mode ``inversion``."""

    source_prompt: str = Field("", description="description of the source images, used for the inversion")
    eta: Fraction = Field(0.0, description="new noise while sampling; at 0 the seed has no effect")


class LoRAParams(Params):
    """Low-rank weights that are added to the checkpoint's."""

    weights: Checkpoint = Field(description="a .safetensors file, a folder with one, or a hub name")
    file: str | None = Field(None, description="file name if the folder or repository has several")
    scale: float = Field(1.0, description="scale of the added weights; 1 is as trained")


class MemoryParams(Params):
    """Memory savings for large models on small accelerators."""

    attention_slicing: bool = False
    vae_slicing: bool = Field(False, description="decode a batch image by image")
    vae_tiling: bool = Field(False, description="decode an image tile by tile, which changes it slightly")
    offload: Literal["none", "model", "sequential"] = Field("none", description="keep unused parts on the CPU")


class LDMParams(Params):
    """The latent diffusion model and how it is sampled."""

    checkpoint: Checkpoint = Field(description="folder of a diffusers pipeline, or a hub name")
    variant: str | None = Field(None, description="variant of the weight files, such as fp16")
    mode: Literal["auto", "img2img", "instruct", "controlnet", "inpaint", "inversion"] = Field(
        "auto", description="auto: mode of the checkpoint")
    dtype: Literal["auto", "float32", "float16", "bfloat16"] = Field(
        "float32", description="auto: bfloat16 on a CPU with AMX, else float32")
    vae: OptionalCheckpoint = Field(None, description="folder or hub name of another VAE, such as a small and fast "
                                                     "AutoencoderTiny; None: the checkpoint's")
    scheduler: str | None = Field(None, description="diffusers scheduler class; None: the checkpoint's")
    scheduler_options: dict[str, bool | int | float | str] = Field({}, description="such as timestep_spacing: trailing")
    steps: int = Field(6, ge=1)
    guidance_scale: float = Field(1.0, ge=0)
    image_guidance_scale: float = Field(1.0, ge=1, description="mode instruct: guidance of the source image")
    negative_prompt: str = ""
    resolution: int | None = Field(None, ge=8, description="shorter side while generating; results are resized to "
                                                           "the source. None: size of the source")
    controlnet: ControlNetParams = ControlNetParams()
    inpaint: InpaintParams = InpaintParams()
    inversion: InversionParams = InversionParams()
    loras: list[LoRAParams] = Field([])
    memory: MemoryParams = MemoryParams()
    batch_size: int = Field(4, ge=1, description="affects speed, not images")

    @field_validator("loras", mode="before")
    @classmethod
    def _from_command_line(cls, value: Any) -> Any:
        """Accept a path for one LoRA of scale 1: ``--params ldm.loras=/path/to/lora.safetensors``."""
        return [{"weights": value}] if isinstance(value, str) else value

    @model_validator(mode="after")
    def _combinations(self) -> LDMParams:
        if self.negative_prompt and self.guidance_scale <= 1:
            raise ValueError("negative_prompt has no effect without guidance: raise guidance_scale above 1 or empty it")
        if self.controlnet.checkpoint and self.mode not in ("auto", "controlnet"):
            raise ValueError(f"controlnet.checkpoint is not used in mode '{self.mode}': set mode: controlnet, or "
                             "remove it")
        if self.mode == "inversion" and self.scheduler not in (None, "DDIMScheduler"):
            raise ValueError(f"mode 'inversion' inverts DDIM, not {self.scheduler}: leave scheduler out")
        return self

    @property
    def uses_boxes(self) -> bool:
        """Whether the labelled boxes determine an image."""
        return self.mode == "inpaint"

    @property
    def uses_masks(self) -> bool:
        """Whether the semantic masks determine an image."""
        return self.mode == "controlnet" and self.controlnet.condition == "segmentation"


def denoising_steps(steps: int, strength: float) -> int:
    """Return the number of denoising steps of a strength: ``int(steps · strength)``, without rounding errors."""
    return min(steps, int(steps * strength + 1e-6))


class VocabularyParams(Params):
    """Vocabulary of the DRSF paper's dual prompts, drawn per image."""

    weather: list[str] = Field(["rainy", "dark", "foggy"], min_length=1)
    time: list[str] = Field(["daytime", "dusk", "night"], min_length=1)
    scene: str = Field("street", min_length=1)
    objects: int = Field(3, ge=0, description="maximum number of object sentences, one per class in the image")
    actions: dict[str, list[str]] = Field({}, description="class -> actions, in addition to the built-in ones")


GeneratorName = Literal["ldm", "corruptions", "fourier", "folder"]
CorruptionName = Literal["brightness", "darkness", "contrast", "gamma", "saturation", "hue", "colour_cast", "grayscale",
                         "gaussian_blur", "gaussian_noise", "jpeg", "posterize", "solarize", "equalize", "fog", "night"]
MADE_BY: dict[str, GeneratorName] = {"prompt": "ldm", "vocabulary": "ldm", "corruptions": "corruptions",
                                     "style": "fourier", "images": "folder"}
"""Parameter of a pseudo domain that names its look -> generator."""
TUNES: dict[str, tuple[GeneratorName, ...]] = {"strength": ("ldm", "fourier"), "severity": ("corruptions",),
                                               "band": ("fourier",)}
"""Other parameters of a pseudo domain -> generators that use them."""


class PseudoDomain(Params):
    """One pseudo domain: what it looks like, and how strongly the source images are changed."""

    prompt: str | None = Field(None, min_length=1, description="ldm: {a|b|c} draws one of the words per image")
    vocabulary: VocabularyParams | None = Field(None, description="ldm: used instead of a prompt; {} takes all "
                                                                  "defaults")
    corruptions: Annotated[list[CorruptionName] | None, BeforeValidator(listed)] = Field(
        None, min_length=1, description="corruptions: one of these is drawn per image")
    style: OptionalPath = Field(None, description="fourier: folder of unlabelled style images, one drawn per image")
    images: OptionalPath = Field(None, description="folder: images made elsewhere, named as their source images")
    strength: Fraction = Field(1.0, description="ldm: share of the noise schedule to run on the source image | "
                                                "fourier: share of the style in the amplitude")
    severity: tuple[float, float] | None = Field(None, description="corruptions: 0 (unchanged) to 1; a range such as "
                                                                   "[0.3, 0.7] draws one per image")
    band: Fraction = Field(0.02, description="fourier: lowest share of the frequencies of each axis that take the "
                                             "style's amplitude; 1: all")

    @field_validator("severity", mode="before")
    @classmethod
    def _range(cls, value: Any) -> Any:
        return (value, value) if isinstance(value, int | float) else value

    @property
    def generator(self) -> GeneratorName:
        """The generator that these parameters are for."""
        return next(generator for name, generator in MADE_BY.items() if getattr(self, name) is not None)

    @model_validator(mode="after")
    def _one_look(self) -> PseudoDomain:
        if sum(getattr(self, name) is not None for name in MADE_BY) != 1:
            raise ValueError("give either a prompt or a vocabulary (generator: ldm), or corruptions (generator: "
                             "corruptions), or a style (generator: fourier), or images (generator: folder); prompt: "
                             "null removes a default prompt")
        fields = type(self).model_fields
        for name, generators in TUNES.items():
            if self.generator not in generators and getattr(self, name) != fields[name].default:
                raise ValueError(f"{name} is not used by the generator {self.generator}, only by "
                                 f"{' and '.join(generators)}: remove it")
        return self

    @model_validator(mode="after")
    def _known_severity(self) -> PseudoDomain:
        if self.corruptions is not None and self.severity is None:
            raise ValueError("corruptions need a severity from 0 to 1, or a range such as [0.3, 0.7]")
        if self.severity is not None and not 0 <= self.severity[0] <= self.severity[1] <= 1:
            raise ValueError(f"severity {list(self.severity)}: give a number from 0 to 1, or a range such as "
                             "[0.3, 0.7]")
        return self


class SynthesisParams(Params):
    """Pseudo domains, what makes them, and numbers of pseudo images."""

    generator: GeneratorName = Field("ldm", description="ldm: diffusion model | corruptions: torchvision's photometric "
                                                        "transforms | fourier: amplitude of style images | folder: "
                                                        "images made elsewhere")
    domains: dict[str, PseudoDomain] = Field(min_length=1)
    n_images: int | None = Field(None, ge=1, description="source images to use, spread over folders; None: all")
    candidates: int = Field(2, ge=1, description="N images per source image and domain; sampling keeps one")
    min_boxes: int = Field(0, ge=0, description="source images with fewer boxes are skipped; 1 skips empty ones")
    max_boxes: int | None = Field(None, ge=1, description="source images with more boxes are skipped")
    shard: str | None = Field(None, pattern=r"^\d+/\d+$", description="'2/4' makes the second quarter of the images")

    @field_validator("shard")
    @classmethod
    def _part_of_whole(cls, shard: str | None) -> str | None:
        if shard is not None:
            part, parts = map(int, shard.split("/"))
            if not 1 <= part <= parts:
                raise ValueError(f"'{shard}' is not a part: the parts of {parts} are '1/{parts}' to '{parts}/{parts}'")
        return shard

    @model_validator(mode="after")
    def _box_bounds(self) -> SynthesisParams:
        if self.max_boxes is not None and self.max_boxes < self.min_boxes:
            raise ValueError(f"max_boxes {self.max_boxes} is below min_boxes {self.min_boxes}: no image can pass")
        return self

    _removed = field_validator("domains", mode="before")(without_removed)

    @model_validator(mode="after")
    def _one_generator(self) -> SynthesisParams:
        others = [name for name, domain in self.domains.items() if domain.generator != self.generator]
        if others:
            needed = " or ".join(name for name, generator in MADE_BY.items() if generator == self.generator)
            raise ValueError(f"generator is {self.generator}, which needs {needed} in every domain, and these are for "
                             f"{self.domains[others[0]].generator}: {', '.join(others)}; change them, or set them to "
                             "null")
        return self

    @property
    def prompted(self) -> dict[str, PseudoDomain]:
        """The domains that the diffusion model makes; none with another generator."""
        return self.domains if self.generator == "ldm" else {}


class GateParams(Params):
    """The label-fidelity gate: checks that the labelled boxes are still visible in a pseudo image."""

    enabled: bool = True
    min_visibility: float = Field(0.2, ge=-1, le=1, description="boxes with a lower score count as lost")
    ignore_lost: bool = Field(False, description="detection: a lost box is neither object nor background; false keeps "
                                                 "its label. Classification never trains on lost objects")
    drop_below: Fraction = Field(0.4, description="drop images with a smaller share of visible boxes")
    down_weight_below: Fraction = Field(0.8, description="between the two, the weight is the share of visible boxes")
    clip: OptionalCheckpoint = Field(None, description="folder or hub name of a CLIP model that checks the boxes")
    min_recognition: Fraction = Field(0.1, description="boxes with a lower CLIP probability of their class are lost")

    def least_visibility(self, task: str) -> float:
        """Return the minimum score of an object to be used in training; -1 uses all objects."""
        used = task == "classification" or (self.ignore_lost and task != "segmentation")
        return self.min_visibility if self.enabled and used else -1.0


class SamplingParams(Params):
    """Selection among candidates by style and content (DomainFusion), followed by the gate."""

    decomposition: Literal["fourier", "adain"] = "fourier"
    style_weight: float = Field(5.0, ge=0, description="weight of the style distance, which varies less than content")
    content_weight: float = Field(0.5, ge=0)
    recombine: bool = Field(False, description="combine the chosen style with the chosen content")
    keep: Literal["best", "all"] = Field("best", description="keep the best candidate of an image, or all (CDGA)")
    gate: GateParams = GateParams()


class ClosedLoopParams(Params):
    """Rounds of training, measurement and synthesis, with the budget of images and steps of the open loop."""

    rounds: int = Field(3, ge=2, description="the first one divides its images evenly, without measurement")
    probe_images: int = Field(12, ge=1, description="held-out source scenes per pseudo domain to measure difficulty, "
                                                    "part of the budget")
    temperature: float = Field(0.1, gt=0, description="a difficulty larger by this value gets e times as many images")
    floor: Fraction = Field(0.5, description="share of a round that is divided evenly over all domains")
    prior_images: float = Field(8.0, ge=0, description="pseudo-count of the shrinkage towards the mean difficulty of "
                                                       "all domains")
    compositions: Fraction = Field(0.25, description="share of compositions, such as fog + night + rain, in later "
                                                     "rounds")
    compose: int = Field(3, ge=2, description="maximum number of domains in a composition")
    strength_step: Fraction = Field(0.1, description="increase of the hardest domain's strength per round, up to 1")
    images: Literal["enlarge", "renew"] = Field("enlarge", description="a round adds its images, or replaces all")


class OnlineParams(Params):
    """Online lightweight augmentation; base class of the parameters of methods that use it."""

    refresh_epochs: float = Field(1.0, gt=0, description="T: epochs between two refreshes; an epoch has as many source "
                                                       "rows as the set has images")
    refreshes: int | None = Field(2, ge=1, description="maximum number of refreshes; None: until training ends")
    refresh_images: int | None = Field(96, ge=1, description="images replaced by a refresh, in turn; None: all")
    candidates: int = Field(2, ge=1, description="N candidates per image; prompts of synthesis.domains in "
                                                 "random order")
    strength: tuple[Fraction, Fraction] | None = Field(None, description="range of the random strength of a "
                                                                         "candidate; None: that of its domain")
    decomposition: Literal["fourier", "adain"] = Field(
        "fourier", description="style and content as amplitude and phase, or as statistics and rest of VAE latents")

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.strength is not None and self.strength[0] > self.strength[1]:
            raise ValueError(f"strength {list(self.strength)}: the first must not be above the second")
        return self
