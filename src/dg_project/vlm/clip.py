"""CLIP: models of transformers and of open_clip as teachers, and a CLIP classifier of box crops."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from dg_project.core.errors import CheckpointError
from dg_project.core.weight_headers import POSITIONS, compare_shapes, read_shapes, refuse
from dg_project.data.images import to_uint8
from dg_project.vlm.base import Teacher

OPEN_CLIP = "open_clip:"
TEACHER_REMEDY = (
    "Give the folder of a CLIP-like teacher (teacher.json), the folder or hub name of a CLIP model of transformers, "
    f"or {OPEN_CLIP}<architecture>/<weights>"
)
GATE_REMEDY = "sampling.gate.clip must be the folder or hub name of a CLIP model of the package transformers, or null"
PROMPT = "a photo of a {}"


def check_clip(name: str, remedy: str = GATE_REMEDY) -> None:
    """Check that a local folder holds a CLIP model of transformers; a hub name is fetched later.

    Args:
        name: folder or hub name.
        remedy: last sentence of the error message.

    Raises:
        CheckpointError: the folder holds something else, or no model.
    """
    folder = Path(name)
    if not folder.exists() and name.count("/") == 1:
        return
    try:
        kind = json.loads((folder / "config.json").read_text()).get("model_type")
    except (OSError, ValueError, AttributeError) as error:
        raise CheckpointError(f"'{name}' is not a CLIP model: it has no readable config.json. {remedy}") from error
    if kind != "clip":
        raise CheckpointError(f"'{name}' is not a CLIP model but '{kind}'. {remedy}")
    if (weights := folder / "model.safetensors").is_file():
        from transformers import CLIPConfig, CLIPModel

        with torch.device("meta"):
            expected = CLIPModel(CLIPConfig.from_pretrained(folder)).named_parameters()
        compare_shapes(read_shapes(weights), {key: tuple(weight.shape) for key, weight in expected}, str(weights))


class TransformersCLIP(Teacher):
    """A CLIPModel of transformers with its own tokenizer and image processor.

    Args:
        name: folder or hub name.
        remedy: last sentence of error messages.
        safetensors_only: refuse weights in other formats.

    Raises:
        CheckpointError: it is not a CLIP model or cannot be opened.
    """

    def __init__(self, name: str, remedy: str = TEACHER_REMEDY, safetensors_only: bool = True) -> None:
        from transformers import CLIPModel, CLIPProcessor

        check_clip(name, remedy)
        self.name = name
        options = {"use_safetensors": True} if safetensors_only else {}
        try:
            model, loaded = CLIPModel.from_pretrained(name, output_loading_info=True, **options)
            self._model: Any = model.eval().requires_grad_(False)
            self._processor: Any = CLIPProcessor.from_pretrained(name)
        except Exception as error:  # the library raises many types, depending on the files
            raise CheckpointError(f"'{name}' cannot be opened as a CLIP model of transformers "
                                  f"({type(error).__name__}: {error}). {remedy}") from error
        check_loaded(name, loaded)
        check_vocabulary(name, self._processor.tokenizer, self._model.config.text_config.vocab_size)
        self.size = int(self._model.config.projection_dim)
        self.scale = float(self._model.logit_scale.exp())

    @torch.no_grad()
    def images(self, images: Sequence[Tensor]) -> Tensor:
        """See ``Teacher.images``."""
        pixels = [to_uint8(image) for image in images]
        inputs = self._processor.image_processor(pixels, return_tensors="pt", input_data_format="channels_first")
        self._model.to(images[0].device)
        output = self._model.get_image_features(pixel_values=inputs["pixel_values"].to(images[0].device))
        return normalize(_pooled(output), dim=-1)

    @torch.no_grad()
    def texts(self, texts: Sequence[str]) -> Tensor:
        """See ``Teacher.texts``."""
        inputs = self._processor.tokenizer(list(texts), return_tensors="pt", padding=True, truncation=True)
        output = self._model.get_text_features(**inputs.to(self._model.device))
        return normalize(_pooled(output), dim=-1).cpu()

    @torch.no_grad()
    def image_text_logits(self, images: Sequence[Tensor], texts: Sequence[str], device: torch.device) -> Tensor:
        """Return the logits (N, n) of uint8 images (3, h, w) and sentences in one pass of the model on ``device``."""
        inputs = self._processor(text=list(texts), images=list(images), return_tensors="pt", padding=True,
                                 input_data_format="channels_first")
        logits: Tensor = self._model.to(device)(**inputs.to(device)).logits_per_image
        return logits


def check_loaded(name: str, loaded: dict[str, Any]) -> None:
    """Raise ``CheckpointError`` if transformers filled in weights that the file does not have, or left some out.

    Args:
        name: folder or hub name.
        loaded: loading info of ``from_pretrained``.
    """
    unexpected = [key for key in loaded["unexpected_keys"] if not key.endswith(POSITIONS)]
    refuse(sorted(loaded["missing_keys"]), sorted(unexpected), sorted(map(str, loaded["mismatched_keys"])), f"'{name}'")


def check_vocabulary(name: str, tokenizer: Any, size: int) -> None:
    """Raise ``CheckpointError`` if a tokenizer is not that of a text encoder with ``size`` tokens."""
    first, second = (tokenizer(text).input_ids for text in (PROMPT.format("car"), PROMPT.format("person")))
    if len(tokenizer) != size or first == second:
        raise CheckpointError(f"'{name}': its tokenizer has a vocabulary of {len(tokenizer)} and its text encoder one "
                              f"of {size}, so sentences would not be read; copy tokenizer.json, or vocab.json and "
                              "merges.txt, of the same model")


def _pooled(output: Any) -> Tensor:
    """Return the projected vector, which transformers 5 wraps in an output object and earlier versions do not."""
    vector: Tensor = output if isinstance(output, Tensor) else output.pooler_output
    return vector


class OpenCLIP(Teacher):
    """A model of the optional package open_clip.

    Args:
        name: ``open_clip:<architecture>/<weights>``; weights are a tag of open_clip or a path.

    Raises:
        CheckpointError: open_clip is not installed or cannot open the model.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        architecture, _, weights = name.removeprefix(OPEN_CLIP).partition("/")
        if not weights:
            raise CheckpointError(f"the teacher '{name}' names no weights, so open_clip would take random ones; write "
                                  f"{OPEN_CLIP}{architecture}/<tag or path of the weights>")
        try:
            import open_clip
        except ImportError as error:
            raise CheckpointError(f"the teacher '{name}' needs open_clip: install the dependency group clip "
                                  "(open_clip_torch)") from error
        try:
            model, _, self._preprocess = open_clip.create_model_and_transforms(architecture, weights)
            self._tokenizer = open_clip.get_tokenizer(architecture)
        except Exception as error:  # the library raises many types, depending on name and file
            raise CheckpointError(f"open_clip cannot open '{architecture}' with the weights '{weights}' "
                                  f"({type(error).__name__}: {error})") from error
        self._model: Any = model.eval().requires_grad_(False)
        self.size = int(self.texts(["a"]).shape[1])
        self.scale = float(self._model.logit_scale.exp())

    @torch.no_grad()
    def images(self, images: Sequence[Tensor]) -> Tensor:
        """See ``Teacher.images``."""
        from torchvision.transforms.v2.functional import to_pil_image

        device = images[0].device
        pixels = torch.stack([self._preprocess(to_pil_image(image.cpu())) for image in images]).to(device)
        return normalize(self._model.to(device).encode_image(pixels), dim=-1)

    @torch.no_grad()
    def texts(self, texts: Sequence[str]) -> Tensor:
        """See ``Teacher.texts``."""
        device = next(nn.Module.parameters(self._model)).device
        return normalize(self._model.encode_text(self._tokenizer(list(texts)).to(device)), dim=-1).cpu()


class Recogniser:
    """CLIP as a classifier of box crops.

    Args:
        checkpoint: folder or hub name of a CLIP model.
        classes: class names; their order gives the labels 1..C.
        device: torch device.

    Raises:
        CheckpointError: the model cannot be opened.
    """

    def __init__(self, checkpoint: str, classes: Sequence[str], device: torch.device) -> None:
        self._clip = TransformersCLIP(checkpoint, GATE_REMEDY, safetensors_only=False)
        self._device = device
        self._texts = [PROMPT.format(name) for name in classes]

    def __call__(self, image: Tensor, boxes: Tensor, labels: Tensor) -> Tensor:
        """Return the probability of each box's own class, ``(n,)`` in 0..1.

        Args:
            image: ``(3, H, W)``, float 0..1.
            boxes: ``(n, 4)`` xyxy, absolute pixels.
            labels: ``(n,)``, 1..C.
        """
        if not len(boxes):
            return torch.zeros(0)
        pixels = to_uint8(image)
        crops = [pixels[:, math.floor(y0):math.ceil(y1), math.floor(x0):math.ceil(x1)]
                 for x0, y0, x1, y1 in boxes.tolist()]
        probabilities = self._clip.image_text_logits(crops, self._texts, self._device).softmax(-1).cpu()
        return probabilities[torch.arange(len(labels)), labels - 1]
