"""Oracle detector for the model card of the tiny LDM, trained on rendered frames in all weathers.

An object that it finds in a rendered night frame but not in the generated one was lost by the diffusion model. It is
trained on the corpus of the diffusion model and used only for the card.
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import torch
from torch import Tensor

from dg_project.config import Settings
from dg_project.core.device import resolve_device
from dg_project.core.files import file_hash
from dg_project.data.manifest import COLUMNS, NO_MASKS
from dg_project.experiments.training_data import TrainingData
from dg_project.experiments.training_run import Trained, TrainingRun
from dg_project.methods.model_folder import load_model
from dg_project.pretraining.ldm.corpus import Group, hold_out, read_corpus
from dg_project.pretraining.ldm.quality import FindObjects

DOMAIN = "corpus"


def train_oracle(settings: Settings, corpus: Path, workspace: Path) -> Trained:
    """Train ERM on all frames of the corpus except the held-out groups.

    Args:
        settings: backbone, detector and training parameters of the run.
        corpus: folder of the captioned corpus.
        workspace: workspace folder, as for ``train_method``.
    """
    groups, _ = hold_out(read_corpus(corpus))
    classes = sorted({label for group in groups for label in group.labels})
    data = settings.data.model_copy(update={"source": DOMAIN, "classes": classes})
    training = settings.training.model_copy(update={"selection": "last"})
    changed = settings.model_copy(update={"data": data, "training": training})
    images = TrainingData(corpus_manifest(groups, corpus, classes), corpus)
    return TrainingRun.resolve("erm", changed, images, workspace).train()


def corpus_manifest(groups: list[Group], corpus: Path, classes: list[str]) -> pd.DataFrame:
    """Return a manifest with one row per frame; all frames of a group share its boxes."""
    rows = []
    for group in groups:
        height, width = group.clear.shape[1:]
        for path in sorted((corpus / group.name).glob("*.jpg")):
            rows.append({
                "image_id": f"{group.name}_{path.stem}", "domain": DOMAIN, "role": "source", "split": "train",
                "image": path.relative_to(corpus).as_posix(), "width": width, "height": height,
                "boxes": group.boxes.tolist(), "labels": [classes.index(label) + 1 for label in group.labels],
                "difficult": [False] * len(group.labels), "sha256": file_hash(path), **NO_MASKS})
    return pd.DataFrame(rows, columns=list(COLUMNS))


def open_oracle(model: Path, device: str, threshold: float) -> FindObjects:
    """Return a trained model as a function: uint8 image ``(3, H, W)`` -> boxes ``(n, 4)`` xyxy and their class names.

    Args:
        model: folder of the trained model.
        device: torch device or ``auto``.
        threshold: minimum score of a detection.
    """
    where = resolve_device(device)
    method = load_model(model, where)

    @torch.inference_mode()
    def detect(image: Tensor) -> tuple[Tensor, list[str]]:
        found = method.predict([image.to(where).float() / 255])[0]
        sure = found["scores"] >= threshold
        return found["boxes"][sure].cpu(), [method.model.classes[label - 1] for label in found["labels"][sure].tolist()]

    return detect
