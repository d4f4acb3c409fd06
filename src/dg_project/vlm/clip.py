"""Real CLIP: a model of the package transformers, or one of open_clip."""

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
from dg_project.vlm.base import Teacher

OPEN_CLIP = "open_clip:"


class TransformersCLIP(Teacher):
    """A CLIPModel of transformers with its own tokenizer and image processor.

    Args:
        name: folder or hub name.

    Raises:
        CheckpointError: it is no CLIP model, or cannot be opened.
    """

    def __init__(self, name: str) -> None:
        from transformers import CLIPModel, CLIPProcessor

        self.name = name
        _check_folder(Path(name))
        try:
            self._model: Any = CLIPModel.from_pretrained(name, use_safetensors=True).eval().requires_grad_(False)
            self._processor: Any = CLIPProcessor.from_pretrained(name)
        except Exception as error:  # whatever the library raises for what it finds in the folder
            raise CheckpointError(f"the teacher '{name}' cannot be opened as a CLIP model of transformers "
                                  f"({type(error).__name__}: {error})") from error
        self.size = int(self._model.config.projection_dim)
        self.scale = float(self._model.logit_scale.exp())

    @torch.no_grad()
    def images(self, images: Sequence[Tensor]) -> Tensor:
        """See ``Teacher.images``."""
        pixels = [(image * 255).round().to(torch.uint8) for image in images]
        given = self._processor.image_processor(pixels, return_tensors="pt", input_data_format="channels_first")
        self._model.to(images[0].device)
        found = self._model.get_image_features(pixel_values=given["pixel_values"].to(images[0].device))
        return normalize(_pooled(found), dim=-1)

    @torch.no_grad()
    def texts(self, texts: Sequence[str]) -> Tensor:
        """See ``Teacher.texts``."""
        given = self._processor.tokenizer(list(texts), return_tensors="pt", padding=True, truncation=True)
        found = self._model.get_text_features(**given.to(self._model.device))
        return normalize(_pooled(found), dim=-1).cpu()


def _pooled(found: Any) -> Tensor:
    """Transformers 5 returns the projected vector inside an output, earlier versions as it is."""
    vector: Tensor = found if isinstance(found, Tensor) else found.pooler_output
    return vector


def _check_folder(folder: Path) -> None:
    """Raise ``CheckpointError`` for a local folder that holds something else; a hub name is fetched later."""
    if not folder.exists() and str(folder).count("/") == 1:
        return
    try:
        kind = json.loads((folder / "config.json").read_text()).get("model_type")
    except (OSError, ValueError, AttributeError) as error:
        raise CheckpointError(f"the teacher '{folder}' has neither a readable teacher.json nor config.json; give the "
                              "folder of a CLIP-like teacher, the folder or hub name of a CLIP model of transformers, "
                              f"or {OPEN_CLIP}<architecture>/<weights>") from error
    if kind != "clip":
        raise CheckpointError(f"the teacher '{folder}' is no CLIP model but '{kind}'")


class OpenCLIP(Teacher):
    """A model of the package open_clip, which is no dependency of this project.

    Args:
        name: ``open_clip:<architecture>/<weights>``; weights are a tag that open_clip knows, or a path.

    Raises:
        CheckpointError: open_clip is not installed, or cannot open it.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        architecture, _, weights = name.removeprefix(OPEN_CLIP).partition("/")
        try:
            import open_clip
        except ImportError as error:
            raise CheckpointError(f"the teacher '{name}' needs open_clip: install the dependency group clip "
                                  "(open_clip_torch)") from error
        try:
            model, _, self._preprocess = open_clip.create_model_and_transforms(architecture, weights or None)
            self._tokenizer = open_clip.get_tokenizer(architecture)
        except Exception as error:  # whatever the library raises for a name or file
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


PROMPT = "a photo of a {}"
REMEDY = "sampling.gate.clip must be the folder or hub name of a CLIP model of the package transformers, or null"


def check_clip(checkpoint: str) -> None:
    """Look whether a local folder may be a CLIP model; a hub name is fetched when it is needed.

    Raises:
        CheckpointError: it is something else.
    """
    folder = Path(checkpoint)
    if not folder.exists() and checkpoint.count("/") == 1:
        return
    try:
        kind = json.loads((folder / "config.json").read_text()).get("model_type")
    except (OSError, ValueError) as error:
        raise CheckpointError(f"'{checkpoint}' is no CLIP model: it has no readable config.json. {REMEDY}") from error
    if kind != "clip":
        raise CheckpointError(f"'{checkpoint}' is no CLIP model but '{kind}'. {REMEDY}")


class Recogniser:
    """CLIP as a classifier of box crops.

    Args:
        checkpoint: folder or hub name of a CLIP model.
        classes: class names; their order gives the labels 1..C.
        device: where it runs.

    Raises:
        CheckpointError: it cannot be opened.
    """

    def __init__(self, checkpoint: str, classes: Sequence[str], device: torch.device) -> None:
        from transformers import CLIPModel, CLIPProcessor

        check_clip(checkpoint)
        try:
            self._model: Any = CLIPModel.from_pretrained(checkpoint).to(device).eval()
            self._processor: Any = CLIPProcessor.from_pretrained(checkpoint)
        except Exception as error:
            raise CheckpointError(f"'{checkpoint}' cannot be opened ({type(error).__name__}). {REMEDY}") from error
        self._texts = [PROMPT.format(name) for name in classes]

    @torch.no_grad()
    def __call__(self, image: Tensor, boxes: Tensor, labels: Tensor) -> Tensor:
        """Return how probable every box's own class is, ``(n,)`` in 0..1.

        Args:
            image: ``(3, H, W)``, float 0..1.
            boxes: ``(n, 4)`` xyxy, absolute pixels.
            labels: ``(n,)``, 1..C.
        """
        if not len(boxes):
            return torch.zeros(0)
        pixels = (image * 255).round().to(torch.uint8)
        crops = [pixels[:, math.floor(y0):math.ceil(y1), math.floor(x0):math.ceil(x1)]
                 for x0, y0, x1, y1 in boxes.tolist()]
        given = self._processor(text=self._texts, images=crops, return_tensors="pt", padding=True,
                                input_data_format="channels_first")
        shares = self._model(**given.to(self._model.device)).logits_per_image.softmax(-1).cpu()
        return shares[torch.arange(len(labels)), labels - 1]
