"""Every parameter of the project, typed and checked before anything runs.

A method's own parameters live beside the method (``Method.Params``) under the top-level key of its name.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from dg_project.errors import ParameterError, nearest

Fraction = Annotated[float, Field(ge=0, le=1)]
TRAIN_CLASSES = ("road", "sidewalk", "building", "wall", "fence", "pole", "traffic light", "traffic sign", "vegetation",
                 "terrain", "sky", "person", "rider", "car", "truck", "bus", "train", "motorcycle", "bicycle")
"""The 19 classes that Cityscapes trains on, by train id."""
Task = Literal["detection", "instance_segmentation", "segmentation", "classification"]


class Params(BaseModel):
    """Base of all parameter groups: immutable, and an unknown key names the nearest known one."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    @model_validator(mode="before")
    @classmethod
    def _unknown_keys(cls, data: Any) -> Any:
        if isinstance(data, dict):
            for key in data:
                if key not in cls.model_fields:
                    raise ValueError(f"unknown parameter '{key}'.{nearest(str(key), cls.model_fields)}")
        return data


class DomainParams(Params):
    """How one domain differs from what ``data`` says."""

    reader: str | None = Field(None, description="name of its reader; None: data.reader")
    folder: str | None = Field(None, description="its folder below data.root; None: it is called like the domain")
    options: dict[str, Any] | None = Field(None, description="of its reader; None: data.options, unless reader differs")


class DataParams(Params):
    """Which domains there are and how they lie on disk."""

    reader: str = Field("voc", description="name of the reader in dg_project.domains.readers")
    root: str = Field(description="folder that holds one folder per domain")
    source: str = Field(description="the one labelled domain that training may open")
    targets: list[str] = Field(min_length=1, description="unseen domains, opened by evaluation only")
    classes: list[str] = Field(min_length=1, description="class names; their order gives the labels 1..C")
    splits: dict[str, str] = Field({"train": "train", "val": "val", "test": "test"},
                                   description="our split name -> the data set's, or a share of it: train[:90%]")
    target_split: str | None = Field(None, description="the data set's split that targets are scored on; None: as test")
    split_seed: int = Field(0, description="draws the shares of splits")
    options: dict[str, Any] = Field({}, description="options of the reader, see docs/add_a_dataset.md")
    domains: dict[str, DomainParams] = Field({}, description="domains with another reader, folder or other options")
    rename: dict[str, str] = Field({}, description="class name in the data set -> name in classes")
    other_classes: Literal["stop", "ignore"] = Field("stop", description="boxes of classes that are not in classes")
    expected_counts: dict[str, int] = Field({}, description="domain/split -> images it must list, or ingestion stops")
    max_train: int | None = Field(None, ge=1, description="use only the first n training images")
    on_bad_sample: Literal["stop", "skip"] = Field("stop", description="a broken image or label stops, or is counted")

    @model_validator(mode="after")
    def _names_exist(self) -> Self:
        """Find misspelt names, which would change nothing."""
        domains = [self.source, *self.targets]
        lists = [f"{self.source}/{split}" for split in self.splits] + [f"{target}/test" for target in self.targets]
        wrong = [(f"domains: '{name}' is neither source nor target.", name, domains) for name in self.domains]
        wrong += [(f"expected_counts: '{name}' is no domain/split.", name, lists) for name in self.expected_counts]
        wrong += [(f"rename: '{name}' is not in classes.", name, self.classes) for name in self.rename.values()]
        if found := next(((text, name, known) for text, name, known in wrong if name not in known), None):
            raise ValueError(found[0] + nearest(found[1], found[2]))
        if self.target_split is None and "test" not in self.splits:
            raise ValueError("splits: 'test' is missing, and target_split does not say what targets are scored on")
        return self

    def layout(self, domain: str) -> tuple[str, str, dict[str, Any]]:
        """Return the reader of a domain, its folder below the root, and the reader's options."""
        own = self.domains.get(domain, DomainParams())
        reader = own.reader or self.reader
        inherited = self.options if reader == self.reader else {}
        return reader, own.folder or domain, inherited if own.options is None else own.options


class ControlNetParams(Params):
    """The ControlNet of the mode ``controlnet``."""

    checkpoint: str | None = Field(None, description="a ControlNetModel's folder or hub name; None: the checkpoint's")
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

    weights: str = Field(description="a .safetensors file, a folder that holds one, or a hub name")
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

    checkpoint: str = Field(description="folder of a diffusers pipeline, or a hub name")
    variant: str | None = Field(None, description="of the weight files, such as fp16; None is the plain one")
    mode: Literal["auto", "img2img", "instruct", "controlnet", "inpaint", "inversion"] = Field(
        "auto", description="auto: what the checkpoint was made for")
    dtype: Literal["float32", "float16", "bfloat16"] = "float32"
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
    loras: list[LoRAParams] = []
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
    clip: str | None = Field(None, description="folder or hub name of a CLIP model that must know the boxes again")
    min_recognition: Fraction = Field(0.1, description="a box whose class CLIP finds less probable counts as lost")


class SamplingParams(Params):
    """Style/content selection among candidates (DomainFusion), then the gate."""

    decomposition: Literal["fourier", "adain"] = "fourier"
    style_weight: float = Field(5.0, ge=0, description="of the style distance, which spreads less than content")
    content_weight: float = Field(0.5, ge=0)
    recombine: bool = Field(False, description="put the chosen style on the chosen content")
    gate: GateParams = GateParams()


class BackboneParams(Params):
    """The feature extractor."""

    name: str = Field("tf_efficientnet_lite0", description="timm's name | hf-hub:<owner>/<model> | torchvision/<name>")
    weights: str | None = Field("package", description="package | path of a .safetensors/.pth | hub | null for random")
    frozen_stages: Annotated[int, Field(ge=0)] | Literal["all"] = Field(
        2, description="stem and first stages that do not train; all freezes the whole network")
    frozen_bn: bool = Field(True, description="batch norm keeps its statistics; layer norm trains like other layers")

    @field_validator("weights")
    @classmethod
    def _not_a_hub_name(cls, weights: str | None) -> str | None:
        if weights is not None and weights.startswith("hf-hub:"):
            raise ValueError(f"give '{weights}' as backbone.name, which it says too, and set backbone.weights to hub")
        return weights


class TaskParams(Params):
    """What every task has."""

    image_size: tuple[int, int] = Field((192, 320), description="height, width that images are resized to")


class DetectionParams(TaskParams):
    """Faster R-CNN sizes."""

    fpn_stages: list[int] = Field([3, 4, 5], min_length=1, description="backbone stages of the pyramid; stride 2^n")
    fpn_channels: int = Field(96, ge=8)
    box_head_features: int = Field(256, ge=8)
    anchor_sizes: list[int] = Field([16, 40, 96], min_length=1,
                                    description="pixels, one per pyramid stage, and one more for a pooled level")
    anchors_per_image: int = Field(128, ge=1, description="anchors that the proposal losses sample")
    proposals_train: int = Field(256, ge=1)
    proposals_test: int = Field(150, ge=1)
    rois_per_image: int = Field(64, ge=1)
    roi_size: int = Field(7, ge=1, description="cells per side of a pooled box")
    roi_samples: int = Field(2, ge=1, description="sampling points per cell and side")
    score_threshold: Fraction = 0.02


class InstanceSegmentationParams(DetectionParams):
    """Mask R-CNN sizes: a detector with a mask head."""

    mask_roi_size: int = Field(14, ge=2, description="cells per side of a box pooled for its mask, half of the mask's")
    mask_channels: int = Field(64, ge=8)
    mask_layers: int = Field(2, ge=1)


class SegmentationParams(TaskParams):
    """DeepLabV3+ sizes."""

    classes: list[str] = Field(list(TRAIN_CLASSES), min_length=2, description="names of the train ids 0, 1, ...")
    channels: int = Field(96, ge=8, description="of the pyramid pooling and the decoder")
    dilations: list[int] = Field([3, 6, 9], min_length=1, description="of the pyramid pooling, cells of the last stage")
    low_stages: list[int] = Field([3, 2], min_length=1, description="backbone stages whose detail the decoder adds")
    dropout: Fraction = 0.1


class ClassificationParams(TaskParams):
    """One object per image: the labelled boxes are cropped."""

    image_size: tuple[int, int] = Field((96, 96), description="height, width that crops are resized to")
    margin: float = Field(0.2, ge=0, description="what a crop shows around its box, in box sides")
    min_side: int = Field(12, ge=1, description="objects whose longer side has fewer pixels are left out")
    dropout: Fraction = 0.2


TASK_PARAMS: dict[Task, type[TaskParams]] = {
    "detection": DetectionParams, "instance_segmentation": InstanceSegmentationParams,
    "segmentation": SegmentationParams, "classification": ClassificationParams,
}


class TrainingParams(Params):
    """The loop, the same for every method."""

    max_steps: int = Field(300, ge=1)
    images_per_step: int = Field(6, ge=1, description="the same for every method: source plus pseudo images")
    lr: float = Field(2e-3, gt=0)
    head_lr_factor: float = Field(1.0, gt=0)
    optimizer: Literal["sgd", "adamw"] = "adamw"
    weight_decay: float = Field(1e-4, ge=0)
    momentum: Fraction = 0.9
    warmup_steps: int = Field(30, ge=0)
    schedule: Literal["constant", "cosine", "step"] = "cosine"
    grad_clip: float | None = Field(10.0, gt=0)
    ema: Fraction | None = Field(None, description="decay of the weight average that predicts; None is off")
    flip: Fraction = 0.5
    checkpoint_every: int = Field(50, ge=1)
    validate_every: int = Field(100, ge=1)
    selection: Literal["source_val", "last"] = "source_val"
    device: str = Field("auto", description="auto | cpu | cuda | cuda:1 | mps")
    threads: int | None = Field(None, ge=1, description="torch threads; None keeps torch's own choice")


class EvaluationParams(Params):
    """Where and how a trained model is scored."""

    max_images: int | None = Field(None, ge=1, description="first n images of each test split")
    batch_size: int = Field(4, ge=1)


class ReportingParams(Params):
    """Pictures of a run."""

    panel_scenes: int = Field(3, ge=1, description="test scenes shown in every domain")
    feature_images: int = Field(40, ge=4, description="images per domain in the feature-shift figure")
    score_threshold: Fraction = 0.5


class BenchmarkParams(Params):
    """methods x seeds -> one table."""

    methods: list[str] = Field(["erm", "mixstyle", "naive", "drsf"], min_length=1)
    seeds: list[int] = Field([0, 1, 2], min_length=1)
    confidence: Fraction = 0.95

    @field_validator("methods", "seeds", mode="before")
    @classmethod
    def _from_command_line(cls, value: Any) -> Any:
        """Lists without commas, where ``--params`` splits: ``seeds=5`` is five seeds, ``erm+drsf`` two methods."""
        if isinstance(value, int):
            return list(range(value))
        return value.split("+") if isinstance(value, str) else value

    @field_validator("methods")
    @classmethod
    def _with_baseline(cls, methods: list[str]) -> list[str]:
        if "erm" not in methods:
            raise ValueError("gains are taken against 'erm': add it to the methods")
        return methods


class PretrainLDMParams(Params):
    """The recipe of the embedded tiny diffusion model."""

    corpus: str = "data/01_raw/streets_corpus"
    vae_crop: tuple[int, int] = Field((64, 96), description="height, width that the autoencoder trains on")
    crop: tuple[int, int] = Field((96, 160), description="height, width that the U-Net trains on")
    vae_channels: tuple[int, int, int] = Field((24, 48, 96), description="at least 12, 48 and 4 * latent_channels")
    unet_channels: list[int] = Field([48, 96, 128, 160], min_length=2, description="multiples of 8; text enters last")
    text_dim: int = Field(128, ge=8)
    latent_channels: int = Field(8, ge=1)
    linear_steps: int = Field(400, ge=2, description="to fit the linear autoencoder that the autoencoder starts as")
    vae_steps: int = Field(1200, ge=1)
    unet_steps: int = Field(6000, ge=1)
    vae_batch_size: int = Field(4, ge=1)
    batch_size: int = Field(8, ge=1)
    vae_lr: float = Field(1e-3, gt=0)
    lr: float = Field(4e-4, gt=0)
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


class Parameters(BaseModel):
    """The root: one field per pipeline. Top-level keys that are not here must be names of methods."""

    model_config = ConfigDict(extra="allow", frozen=True)

    task: Task = "detection"
    method: str = "drsf"
    seed: int = Field(0, ge=0)
    workspace: str = Field("data/.workspace", description="unfinished and reusable work, addressed by its inputs")
    data: DataParams
    ldm: LDMParams
    synthesis: SynthesisParams
    sampling: SamplingParams = SamplingParams()
    backbone: BackboneParams = BackboneParams()
    detection: DetectionParams = DetectionParams()
    instance_segmentation: InstanceSegmentationParams = InstanceSegmentationParams()
    segmentation: SegmentationParams = SegmentationParams()
    classification: ClassificationParams = ClassificationParams()
    training: TrainingParams = TrainingParams()
    evaluation: EvaluationParams = EvaluationParams()
    reporting: ReportingParams = ReportingParams()
    benchmark: BenchmarkParams = BenchmarkParams()
    pretrain_ldm: PretrainLDMParams = PretrainLDMParams()

    @property
    def head(self) -> TaskParams:
        """The parameters of the chosen task."""
        chosen: TaskParams = getattr(self, self.task)
        return chosen

    @property
    def classes(self) -> list[str]:
        """The classes of the chosen task."""
        return self.segmentation.classes if self.task == "segmentation" else self.data.classes

    @model_validator(mode="after")
    def _generation(self) -> Parameters:
        """Refuse what would fail only after hours of generation."""
        for name, domain in self.synthesis.domains.items():
            if domain.strength > 0 and denoising_steps(self.ldm.steps, domain.strength) < 1:
                raise ValueError(f"synthesis.domains.{name}.strength {domain.strength} with ldm.steps {self.ldm.steps} "
                                 f"runs no denoising step: raise ldm.steps to {math.ceil(1 / domain.strength)} or "
                                 "more, or the strength")
        if self.ldm.memory.offload != "none" and self.training.device == "cpu":
            raise ValueError("ldm.memory.offload moves a model between the CPU and an accelerator, but training.device "
                             "is cpu: set ldm.memory.offload: none")
        if self.ldm.mode == "inversion" and not self.ldm.inversion.eta:
            _check_copies(self.synthesis)
        return self


def _check_copies(synthesis: SynthesisParams) -> None:
    fixed = [name for name, domain in synthesis.domains.items() if domain.prompt and "{" not in domain.prompt]
    if synthesis.candidates > 1 and fixed:
        raise ValueError(f"ldm.mode 'inversion' draws nothing at random, so the {synthesis.candidates} candidates of "
                         f"'{fixed[0]}' would be copies: set synthesis.candidates: 1, raise ldm.inversion.eta above 0, "
                         "or write choices {a|b} into the prompt")

def check_parameters(raw: dict[str, Any], methods: Mapping[str, type[Params]],
                     readers: Mapping[str, type[Params]] | None = None) -> Parameters:
    """Validate everything under ``conf/**/parameters*.yml`` and ``--params`` at once.

    Args:
        raw: the merged parameters.
        methods: parameter class of every method, by method name.
        readers: option class of every reader, by reader name; None leaves the options to the ingestion.

    Raises:
        ParameterError: one line per wrong or unknown key, with its full path, the reason and the nearest valid key.
    """
    known = [*Parameters.model_fields, *methods]
    problems = [f"unknown parameter '{key}'.{nearest(key, known)}" for key in raw if key not in known]
    parsed = None
    try:
        parsed = Parameters.model_validate({k: v for k, v in raw.items() if k in Parameters.model_fields})
    except ValidationError as error:
        problems += _lines(error)
    for name, schema in methods.items():
        try:
            schema.model_validate(raw.get(name, {}))
        except ValidationError as error:
            problems += _lines(error, name)
    problems += _reader_problems(parsed.data, readers) if parsed and readers else []
    chosen = [raw.get("method", "drsf"), *(parsed.benchmark.methods if parsed else [])]
    problems += [f"unknown method '{m}'.{nearest(str(m), methods)}" for m in dict.fromkeys(chosen) if m not in methods]
    if problems or parsed is None:
        raise ParameterError("wrong parameters, nothing was run:\n  " + "\n  ".join(problems))
    return parsed


def _reader_problems(data: DataParams, readers: Mapping[str, type[Params]]) -> list[str]:
    """Check the reader and the options of every domain; each problem is told once."""
    problems: dict[str, None] = {}
    for domain in [data.source, *data.targets]:
        reader, _, options = data.layout(domain)
        own = data.domains.get(domain, DomainParams())
        if reader not in readers:
            where = f"data.domains.{domain}.reader" if own.reader else "data.reader"
            problems[f"{where}: unknown reader '{reader}'.{nearest(reader, readers)}"] = None
            continue
        try:
            readers[reader].model_validate(options)
        except ValidationError as error:
            where = f"data.domains.{domain}.options" if own.options is not None else "data.options"
            problems |= dict.fromkeys(_lines(error, f"{where} (reader {reader})"))
    return list(problems)


def _lines(error: ValidationError, prefix: str = "") -> list[str]:
    lines = []
    for item in error.errors():
        path = ".".join(filter(None, [prefix, *map(str, item["loc"])]))
        given = "" if item["type"] in ("missing", "value_error") else f" (given: {item['input']!r})"
        lines.append(f"{path or 'parameters'}: {item['msg'].removeprefix('Value error, ')}{given}")
    return lines
