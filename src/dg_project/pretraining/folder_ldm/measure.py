"""Measure the figures of the model card on source images that never trained."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import torch
from diffusers import AutoencoderKL, StableDiffusionImg2ImgPipeline
from numpy.typing import NDArray
from sklearn.dummy import DummyClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import Tensor
from torchvision.transforms.v2.functional import pil_to_tensor
from tqdm.auto import tqdm

from dg_project.backbones import build_backbone
from dg_project.config import BackboneParams, PretrainFolderLDMParams
from dg_project.diffusion.captions import caption
from dg_project.diffusion.generator import Generator
from dg_project.pretraining.folder_ldm.pictures import Pictures
from dg_project.pretraining.ldm.vae_training import decode, encode, psnr

STEPS = 10
"""Sampling steps of a full schedule."""
STRENGTHS = (0.3, 0.5, 0.7)
JUDGED, LEARNED = 16, 300
"""Images per domain that are changed and judged, and that the judge learns from."""


def autoencoder_quality(vae: AutoencoderKL, pictures: Pictures) -> dict[str, float]:
    """Return the PSNR in dB of decoded latents by domain."""
    found = {}
    for domain in dict.fromkeys(pictures.domains):
        images = pictures.images[pictures.rows(domain)]
        found[domain] = psnr(decode(vae, encode(vae, images)), images)
    return found


def measure(pipeline: StableDiffusionImg2ImgPipeline, train: Pictures, held: Pictures,
            params: PretrainFolderLDMParams) -> dict[str, Any]:
    """Return the figures of the trained model.

    Every judged image is changed into every other source domain; the judge says how many look like the domain that was
    asked for, and in how many it still finds the class of the source image.

    Args:
        pipeline: trained pipeline.
        train: pictures that the judge learns from.
        held: pictures that neither the model nor the judge has seen.
        params: parameters of the training.
    """
    judge = Judge(every_nth(train, LEARNED))
    shown = every_nth(held, JUDGED)
    figures: dict[str, Any] = {
        "vae_after": autoencoder_quality(pipeline.vae, held),
        "parameters": {name: sum(weight.numel() for weight in getattr(pipeline, name).parameters())
                       for name in ("vae", "unet", "text_encoder")},
        "device": str(pipeline.device), "threads": torch.get_num_threads(),
        "held": len(held), "judged": len(shown),
        "judged_as": {"real": judge(shown.images, shown.domains, shown.classes)}, "seconds": {},
    }
    decoded = decode(pipeline.vae, encode(pipeline.vae, shown.images))
    figures["judged_as"]["through the autoencoder"] = judge(decoded, shown.domains, shown.classes)
    for strength in STRENGTHS:
        images, domains, classes, seconds = _changed(pipeline, shown, params.captions[0], strength)
        figures["judged_as"][f"changed, strength {strength}"] = judge(images, domains, classes)
        figures["seconds"][strength] = seconds
    return figures


def every_nth(pictures: Pictures, count: int) -> Pictures:
    """Return at most ``count`` pictures of every domain, taken evenly."""
    rows: list[int] = []
    for domain in dict.fromkeys(pictures.domains):
        own = pictures.rows(domain)
        rows += own[:: -(-len(own) // count)]
    return pictures.subset(rows)


def _changed(pipeline: StableDiffusionImg2ImgPipeline, shown: Pictures, template: str,
             strength: float) -> tuple[Tensor, list[str], list[str], float]:
    """Return every picture as every other domain: images, domains asked for, classes, and seconds per image."""
    generator, names = Generator(pipeline, "measured"), list(dict.fromkeys(shown.domains))
    images, domains, classes = [], [], []
    started = time.perf_counter()
    for row in tqdm(range(len(shown)), f"changing at strength {strength}", unit="picture"):
        others = [name for name in names if name != shown.domains[row]]
        captions = [caption(template, name, shown.classes[row]) for name in others]
        images += generator.generate([shown.images[row]] * len(others), captions, [row] * len(others),
                                     strength=strength, steps=STEPS)
        domains += others
        classes += [shown.classes[row]] * len(others)
    seconds = (time.perf_counter() - started) / len(images)
    return torch.stack([pil_to_tensor(image) for image in images]), domains, classes, seconds


def _classifier(names: list[str]) -> Pipeline:
    only = len(set(names)) == 1
    return make_pipeline(StandardScaler(), DummyClassifier() if only else LogisticRegression(C=0.1, max_iter=1000))


class Judge:
    """Logistic regressions of domain and class on features of the packaged backbone, which knows photographs.

    Args:
        pictures: pictures to learn from.
    """

    def __init__(self, pictures: Pictures) -> None:
        self._backbone = build_backbone(BackboneParams(frozen_stages="all")).eval()
        features = self._features(pictures.images)
        self._models = [_classifier(names).fit(features, names) for names in (pictures.domains, pictures.classes)]

    def __call__(self, images: Tensor, domains: list[str], classes: list[str]) -> tuple[float, float]:
        """Return the shares of uint8 images ``(N, 3, H, W)`` that it reads as their domain, and as their class."""
        features = self._features(images)
        domain, of_class = (float(np.mean(model.predict(features) == np.array(names)))
                            for model, names in zip(self._models, (domains, classes), strict=True))
        return domain, of_class

    @torch.inference_mode()
    def _features(self, images: Tensor) -> NDArray[np.float32]:
        """Return the means over positions of the last two stages, ``(N, C)``."""
        found = []
        for batch in images.split(16):
            maps = list(self._backbone(self._backbone.normalise(batch.float() / 255)).values())[-2:]
            found.append(torch.cat([level.mean((2, 3)) for level in maps], 1))
        return torch.cat(found).numpy()
