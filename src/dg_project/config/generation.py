"""The diffusion model, what it is asked for, and what is kept of its images."""

from __future__ import annotations

from typing import Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from dg_project.config.base import Checkpoint, Fraction, OptionalCheckpoint, Params


class ControlNetParams(Params):
    """The ControlNet of the mode ``controlnet``."""

    checkpoint: OptionalCheckpoint = Field(None, description="folder or hub name of a ControlNetModel; None: the "
                                                             "checkpoint's own")
    condition: Literal["edges", "segmentation"] = Field("edges", description="what it was trained to follow")
    palette: Literal["ade20k", "cityscapes"] = Field("ade20k", description="class colours of the segmentation")
    scale: float = Field(1.0, ge=0, description="how strongly it holds")
    end: Fraction = Field(1.0, description="share of the run steps after which it lets go")


class InpaintParams(Params):
    """What the mode ``inpaint`` does inside the labelled boxes."""

    box_strength: Fraction = Field(0.3, description="the boxes' own strength; 0 keeps their source pixels exactly")


class InversionParams(Params):
    """DDIM inversion, the mode ``inversion``."""

    source_prompt: str = Field("", description="what the source images show; the inversion is steered by it")
    eta: Fraction = Field(0.0, description="fresh noise while sampling; at 0 the seed changes nothing")


class LoRAParams(Params):
    """Low-rank weights that are added to the checkpoint's."""

    weights: Checkpoint = Field(description="a .safetensors file, a folder that holds one, or a hub name")
    file: str | None = Field(None, description="name of the file where the folder or repository holds several")
    scale: float = Field(1.0, description="1 adds them as they were trained")


class MemoryParams(Params):
    """What fits a large model into a small accelerator."""

    attention_slicing: bool = False
    vae_slicing: bool = Field(False, description="decode a batch image by image")
    vae_tiling: bool = Field(False, description="decode an image tile by tile, which changes it slightly")
    offload: Literal["none", "model", "sequential"] = Field("none", description="what waits on the CPU for its turn")


class LDMParams(Params):
    """The latent diffusion model and how it is sampled."""

    checkpoint: Checkpoint = Field(description="folder of a diffusers pipeline, or a hub name")
    variant: str | None = Field(None, description="of the weight files, such as fp16; None is the plain one")
    mode: Literal["auto", "img2img", "instruct", "controlnet", "inpaint", "inversion"] = Field(
        "auto", description="auto: what the checkpoint was made for")
    dtype: Literal["auto", "float32", "float16", "bfloat16"] = Field(
        "float32", description="auto: bfloat16 on a CPU with AMX or AVX512-BF16, else float32")
    scheduler: str | None = Field(None, description="diffusers scheduler class; None keeps the checkpoint's own")
    scheduler_options: dict[str, bool | int | float | str] = Field({}, description="such as timestep_spacing: trailing")
    steps: int = Field(6, ge=1)
    guidance_scale: float = Field(1.0, ge=0)
    image_guidance_scale: float = Field(1.0, ge=1, description="mode instruct: how strongly the source pulls")
    negative_prompt: str = ""
    resolution: int | None = Field(None, ge=8, description="shorter side while generating; the image comes back as "
                                                           "large as its source. None is the source's own")
    controlnet: ControlNetParams = ControlNetParams()
    inpaint: InpaintParams = InpaintParams()
    inversion: InversionParams = InversionParams()
    loras: list[LoRAParams] = Field([])
    memory: MemoryParams = MemoryParams()
    batch_size: int = Field(4, ge=1, description="changes the speed, never an image")

    @field_validator("loras", mode="before")
    @classmethod
    def _from_command_line(cls, value: Any) -> Any:
        """One LoRA of scale 1 may be its path alone: ``--params ldm.loras=/path/to/lora.safetensors``."""
        return [{"weights": value}] if isinstance(value, str) else value

    @model_validator(mode="after")
    def _combinations(self) -> LDMParams:
        if self.negative_prompt and self.guidance_scale <= 1:
            raise ValueError("negative_prompt has no effect without guidance: raise guidance_scale above 1 or empty it")
        if self.controlnet.checkpoint and self.mode not in ("auto", "controlnet"):
            raise ValueError(f"controlnet.checkpoint is not used in mode '{self.mode}': set mode: controlnet, or take "
                             "it away")
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
    """Return how many of the last ``steps`` a strength runs, ``int(steps · strength)`` but for rounding errors."""
    return min(steps, int(steps * strength + 1e-6))


class VocabularyParams(Params):
    """Words of the DRSF paper's dual prompts, drawn per image."""

    weather: list[str] = Field(["rainy", "dark", "foggy"], min_length=1)
    time: list[str] = Field(["daytime", "dusk", "night"], min_length=1)
    scene: str = Field("street", min_length=1)
    objects: int = Field(3, ge=0, description="object sentences at most, one per class in the image")
    actions: dict[str, list[str]] = Field({}, description="what a class may be doing, beside the built-in words")


class PseudoDomain(Params):
    """One pseudo domain: what to ask the diffusion model for."""

    prompt: str | None = Field(None, min_length=1, description="{a|b|c} draws one of the words per image")
    vocabulary: VocabularyParams | None = Field(None, description="instead of a prompt; {} takes all its defaults")
    strength: Fraction = Field(1.0, description="share of the noise schedule that is run, from the noised source image")

    @model_validator(mode="after")
    def _one_text(self) -> PseudoDomain:
        if (self.prompt is None) == (self.vocabulary is None):
            raise ValueError("give either a prompt or a vocabulary (prompt: null takes a default prompt away)")
        return self


class SynthesisParams(Params):
    """How many pseudo images, of which domains."""

    domains: dict[str, PseudoDomain] = Field(min_length=1)
    n_images: int | None = Field(None, ge=1, description="source training images to start from; None is all of them")
    candidates: int = Field(2, ge=1, description="N images per source image and domain, one of which sampling keeps")
    min_boxes: int = Field(0, ge=0, description="source images with fewer boxes are skipped; 1 skips empty ones")
    max_boxes: int | None = Field(None, ge=1, description="source images with more boxes are skipped")
    shard: str | None = Field(None, pattern=r"^\d+/\d+$", description="'2/4' makes the second quarter of the images")

    @field_validator("shard")
    @classmethod
    def _part_of_whole(cls, shard: str | None) -> str | None:
        if shard is not None:
            part, parts = map(int, shard.split("/"))
            if not 1 <= part <= parts:
                raise ValueError(f"'{shard}' is no part: the parts of {parts} are '1/{parts}' to '{parts}/{parts}'")
        return shard

    @model_validator(mode="after")
    def _box_bounds(self) -> SynthesisParams:
        if self.max_boxes is not None and self.max_boxes < self.min_boxes:
            raise ValueError(f"max_boxes {self.max_boxes} is below min_boxes {self.min_boxes}: no image can pass")
        return self

    @field_validator("domains", mode="before")
    @classmethod
    def _without_removed(cls, domains: Any) -> Any:
        """Environments and ``--params`` add to the domains of conf/base; ``fog: null`` takes one away."""
        return {k: v for k, v in domains.items() if v is not None} if isinstance(domains, dict) else domains


class GateParams(Params):
    """The label-fidelity gate: are the kept boxes still to be seen in a pseudo image?"""

    enabled: bool = True
    min_visibility: float = Field(0.2, ge=-1, le=1, description="a box scoring less counts as lost")
    drop_below: Fraction = Field(0.4, description="images keeping a smaller share of their boxes are dropped")
    down_weight_below: Fraction = Field(0.8, description="between the two, the weight is the share kept")
    clip: OptionalCheckpoint = Field(None, description="folder or hub name of a CLIP model that must recognise boxes")
    min_recognition: Fraction = Field(0.1, description="a box whose class CLIP finds less probable counts as lost")

    @property
    def least_visibility(self) -> float:
        """Score that an object needs to be trained on by itself: without the gate -1, which none lacks."""
        return self.min_visibility if self.enabled else -1.0


class SamplingParams(Params):
    """Style/content selection among candidates (DomainFusion), then the gate."""

    decomposition: Literal["fourier", "adain"] = "fourier"
    style_weight: float = Field(5.0, ge=0, description="of the style distance, which spreads less than content")
    content_weight: float = Field(0.5, ge=0)
    recombine: bool = Field(False, description="put the chosen style on the chosen content")
    keep: Literal["best", "all"] = Field("best", description="of the candidates of an image; all chooses none (CDGA)")
    gate: GateParams = GateParams()


class ClosedLoopParams(Params):
    """Rounds of training, measuring and synthesis; the budget of images and steps is that of the open loop."""

    rounds: int = Field(3, ge=2, description="the first one has no measurement yet and divides its images evenly")
    probe_images: int = Field(12, ge=1, description="held-out source scenes per pseudo domain on which difficulty is "
                                                    "measured; their images are part of the budget")
    temperature: float = Field(0.1, gt=0, description="a difficulty larger by this much gets e times the images")
    floor: Fraction = Field(0.5, description="share of a round that is divided evenly, so that no domain starves")
    prior_images: float = Field(8.0, ge=0, description="a difficulty is drawn to the mean of all domains as if by so "
                                                       "many images: few probes say little")
    compositions: Fraction = Field(0.25, description="share of a later round that goes to compositions such as fog + "
                                                     "night + rain")
    compose: int = Field(3, ge=2, description="domains that one composition takes its words from, at most")
    strength_step: Fraction = Field(0.1, description="the hardest domain's strength grows by this much, up to 1")
    images: Literal["enlarge", "renew"] = Field("enlarge", description="does a round add its images, or replace all?")


class OnlineParams(Params):
    """Online lightweight augmentation; base of the parameters of a method that trains on it."""

    refresh_epochs: float = Field(1.0, gt=0, description="T: epochs between two refreshes, of as many source rows as "
                                                       "the set has images")
    refreshes: int | None = Field(2, ge=1, description="how many at most; None: until the training ends")
    refresh_images: int | None = Field(96, ge=1, description="images that one refresh replaces, in turn; None: all")
    candidates: int = Field(2, ge=1, description="N images made for each of them; prompts are those of "
                                                 "synthesis.domains in random order")
    strength: tuple[Fraction, Fraction] | None = Field(None, description="each candidate's own is drawn between the "
                                                                         "two; None: that of its synthesis domain")
    decomposition: Literal["fourier", "adain"] = Field(
        "fourier", description="of style and content: amplitude and phase, or statistics of VAE latents and the rest")

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.strength is not None and self.strength[0] > self.strength[1]:
            raise ValueError(f"strength {list(self.strength)}: the first must not be above the second")
        return self
