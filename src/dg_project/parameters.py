"""Every parameter of the project, typed and checked before anything runs.

A method's own parameters live beside the method (``Method.Params``) under the top-level key of its name.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from dg_project.errors import ParameterError, nearest

Fraction = Annotated[float, Field(ge=0, le=1)]


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


class DataParams(Params):
    """Which domains there are and how they lie on disk."""

    reader: str = Field("voc", description="name of the reader in dg_project.domains.readers")
    root: str = Field(description="folder that holds one folder per domain")
    source: str = Field(description="the one labelled domain that training may open")
    targets: list[str] = Field(min_length=1, description="unseen domains, opened by evaluation only")
    classes: list[str] = Field(min_length=1, description="class names; their order gives the labels 1..C")
    splits: dict[str, str] = Field({"train": "train", "val": "val", "test": "test"},
                                   description="our split name -> the data set's split name")
    max_train: int | None = Field(None, ge=1, description="use only the first n training images")
    on_bad_sample: Literal["stop", "skip"] = Field("stop", description="a broken image or label stops, or is counted")


class LDMParams(Params):
    """The latent diffusion model and how it is sampled."""

    checkpoint: str = Field(description="folder of a diffusers pipeline, or a hub name")
    dtype: Literal["float32", "float16", "bfloat16"] = "float32"
    scheduler: str | None = Field(None, description="diffusers scheduler class; None keeps the checkpoint's own")
    steps: int = Field(6, ge=1)
    guidance_scale: float = Field(1.0, ge=0)
    image_guidance_scale: float = Field(1.0, ge=0)
    negative_prompt: str = ""
    batch_size: int = Field(4, ge=1, description="changes the speed, never an image")


class PseudoDomain(Params):
    """One pseudo domain: what to ask the diffusion model for."""

    prompt: str = Field(min_length=1, description="a prompt; {a|b|c} draws one of the words per image")
    strength: Fraction = Field(1.0, description="share of the noise schedule that is run, from the noised source image")


class SynthesisParams(Params):
    """How many pseudo images, of which domains."""

    domains: dict[str, PseudoDomain] = Field(min_length=1)
    n_images: int | None = Field(None, ge=1, description="source training images to start from; None is all of them")
    candidates: int = Field(2, ge=1, description="N images per source image and domain, one of which sampling keeps")

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


class DetectionParams(Params):
    """Faster R-CNN sizes."""

    image_size: tuple[int, int] = Field((192, 320), description="height, width that images are resized to")
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
    vae_channels: list[int] = Field([24, 48, 96], min_length=2, description="multiples of 8; levels halve")
    unet_channels: list[int] = Field([48, 96, 128, 160], min_length=2, description="multiples of 8; text enters last")
    text_dim: int = Field(128, ge=8)
    latent_channels: int = Field(8, ge=1)
    vae_steps: int = Field(3000, ge=1)
    unet_steps: int = Field(6000, ge=1)
    vae_batch_size: int = Field(4, ge=1)
    batch_size: int = Field(8, ge=1)
    vae_lr: float = Field(1.5e-3, gt=0)
    lr: float = Field(4e-4, gt=0)
    checkpoint_every: int = Field(200, ge=1)
    seed: int = 0
    device: str = "auto"
    threads: int | None = Field(None, ge=1)


class Parameters(BaseModel):
    """The root: one field per pipeline. Top-level keys that are not here must be names of methods."""

    model_config = ConfigDict(extra="allow", frozen=True)

    task: Literal["detection"] = "detection"
    method: str = "drsf"
    seed: int = Field(0, ge=0)
    workspace: str = Field("data/.workspace", description="unfinished and reusable work, addressed by its inputs")
    data: DataParams
    ldm: LDMParams
    synthesis: SynthesisParams
    sampling: SamplingParams = SamplingParams()
    backbone: BackboneParams = BackboneParams()
    detection: DetectionParams = DetectionParams()
    training: TrainingParams = TrainingParams()
    evaluation: EvaluationParams = EvaluationParams()
    reporting: ReportingParams = ReportingParams()
    benchmark: BenchmarkParams = BenchmarkParams()
    pretrain_ldm: PretrainLDMParams = PretrainLDMParams()


def check_parameters(raw: dict[str, Any], methods: dict[str, type[Params]]) -> Parameters:
    """Validate everything under ``conf/**/parameters*.yml`` and ``--params`` at once.

    Args:
        raw: the merged parameters.
        methods: parameter class of every method, by method name.

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
    chosen = [raw.get("method", "drsf"), *(parsed.benchmark.methods if parsed else [])]
    problems += [f"unknown method '{m}'.{nearest(str(m), methods)}" for m in dict.fromkeys(chosen) if m not in methods]
    if problems or parsed is None:
        raise ParameterError("wrong parameters, nothing was run:\n  " + "\n  ".join(problems))
    return parsed


def _lines(error: ValidationError, prefix: str = "") -> list[str]:
    lines = []
    for item in error.errors():
        path = ".".join(filter(None, [prefix, *map(str, item["loc"])]))
        given = "" if item["type"] in ("missing", "value_error") else f" (given: {item['input']!r})"
        lines.append(f"{path or 'parameters'}: {item['msg'].removeprefix('Value error, ')}{given}")
    return lines
