"""What the page shows: sample photos, weather painted by the diffusion model, detections of several models."""

from __future__ import annotations

import logging
from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from dg_project.config import Settings
from dg_project.config.grids import BASELINE
from dg_project.core.device import resolve_device
from dg_project.core.errors import ParameterError
from dg_project.core.files import inside
from dg_project.core.model_versions import CARD, is_shipped, newest_model
from dg_project.data.readers import configured, read_domain
from dg_project.diffusion.generator import Generator
from dg_project.diffusion.prompts import expand_at
from dg_project.methods.model_choice import describe_model
from dg_project.methods.model_folder import read_card
from dg_project.predict.trained import TrainedModel

logger = logging.getLogger(__name__)

COMPARED = {"baseline": BASELINE, "naive": "naive"}
"""Models that stand before the chosen one: prefix of the artifact of the same run -> method."""
SAMPLES = 8
DETECTORS = ("detection", "instance_segmentation")


@dataclass(frozen=True)
class Found:
    """What one model found: its method, the drawn image, and the number of objects by class."""

    method: str
    drawn: Image.Image
    counts: dict[str, int]


class Studio:
    """The diffusion model and the trained models, opened once.

    Args:
        settings: all parameters, paths located.
        folder: model folder, or folder of versions.

    Raises:
        CheckpointError: the folder holds no trained model.
        ParameterError: the model detects nothing, because it was trained for another task.
    """

    def __init__(self, settings: Settings, folder: Path) -> None:
        self._settings = settings
        self._device = resolve_device(settings.training.device)
        chosen = models_of_a_run(folder)
        for model in chosen:
            logger.info("model    %s", describe_model(model))
            if (task := read_card(model)[0].task) not in DETECTORS:
                raise ParameterError(f"the demo draws detections, and '{model}' was trained for {task}; name a "
                                     "detector with --model")
        self.models = [TrainedModel(model, settings.training.device) for model in chosen]

    @property
    def weathers(self) -> list[str]:
        """Names of the pseudo domains that the diffusion model has a prompt for."""
        return [name for name, domain in self._settings.synthesis.prompted.items() if domain.prompt]

    @cached_property
    def samples(self) -> list[Path]:
        """Test photos of the source; none if its data is not on this machine."""
        data, root = self._settings.data, Path(self._settings.data.root)
        if not root.is_dir():
            return []
        splits = {"test": data.splits_of(data.source)["test"]}
        rows, _ = read_domain(role="source", limits={"test": SAMPLES}, **configured(data, root, data.source, splits))
        return [inside(root, str(name)) for name in rows["image"].head(SAMPLES)]

    @cached_property
    def _painter(self) -> Generator:
        return Generator.from_params(self._settings.ldm, self._device)

    def fitted(self, image: Image.Image) -> Image.Image:
        """Return a photo at the size that the models were trained at: its shorter side is that of their images."""
        side = min(self._settings.head.image_size)
        factor = side / min(image.size)
        return image.resize((round(image.width * factor), round(image.height * factor)), Image.Resampling.LANCZOS)

    def paint(self, image: Image.Image, weather: str, strength: float, seed: int = 0) -> Image.Image:
        """Paint a weather on a photo.

        Args:
            image: the photo.
            weather: one of ``weathers``.
            strength: 0 to 1, from the first to the last word of each choice in the prompt: light fog, fog, dense fog.
            seed: random seed.
        """
        if weather not in self.weathers:
            raise ParameterError(f"there is no weather '{weather}'; choose one of {', '.join(self.weathers)}")
        ldm, domain = self._settings.ldm, self._settings.synthesis.prompted[weather]
        return self._painter.generate(
            [image], [expand_at(domain.prompt or "", strength)], [seed], strength=domain.strength, steps=ldm.steps,
            guidance_scale=ldm.guidance_scale, image_guidance_scale=ldm.image_guidance_scale,
            negative_prompt=ldm.negative_prompt)[0]

    def detect(self, image: Image.Image) -> list[Found]:
        """Return what every model finds, in the order in which they are compared."""
        pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1)
        found = []
        for model in self.models:
            drawn, row = model.draw(pixels)
            counts = Counter(model.spec.classes[int(label) - 1] for label in row["labels"])
            found.append(Found(model.spec.method, Image.fromarray(drawn.permute(1, 2, 0).numpy()),
                               dict(counts.most_common())))
        return found


def models_of_a_run(folder: Path) -> list[Path]:
    """Return the chosen model, after the models that it was compared with in the same run, if they are there."""
    model = newest_model(folder)
    if is_shipped(model):
        family = model.name.rpartition("_")[0]
        others = [model.with_name(f"{family}_{name}") for name in COMPARED.values()]
        return [*(other for other in others if (other / CARD).is_file() and other != model), model]
    version, kept = model.parent, model.parents[2] if len(model.parents) > 2 else model.parent
    others = [kept / f"{name}_model" / version.name / f"{name}_model" for name in COMPARED]
    return [*(other for other in others if (other / CARD).is_file()), model]
