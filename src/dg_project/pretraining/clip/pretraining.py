"""Train the projector of the CLIP-like teacher by contrast on crops of the captioned corpus."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd
import torch
from torch import Tensor
from tqdm.auto import tqdm

from dg_project.config import PretrainTeacherParams
from dg_project.data.dataset import ManifestDataset
from dg_project.vlm.clip_like import Projector
from dg_project.vlm.embedding_cache import EmbeddingCache
from dg_project.vlm.encoders import image_features, text_features

TEMPLATES = ("this is a photo of a {}", "a photo of a {}", "a {}", "{}")
WARMUP = 50


@dataclass(frozen=True)
class Crops:
    """Features of the corpus' object crops from the frozen encoder.

    Attributes:
        features: (N, V, 3072), V = 2 versions: original and mirrored.
        label: (N,) class of each crop, 0-based.
        caption: (N,) caption of the crop's frame, index into ``captions``.
        classes: class names.
        captions: captions of the frames.
    """

    features: Tensor
    label: Tensor
    caption: Tensor
    classes: list[str]
    captions: list[str] = field(default_factory=list)


def read_crops(rows: pd.DataFrame, root: Path, classes: list[str], folder: Path, device: torch.device) -> Crops:
    """Embed the crops of a manifest with the frozen image encoder, or read the embeddings of an earlier run.

    Args:
        rows: one row per object, with a column ``caption``.
        root: folder of the corpus.
        classes: class names; labels are 1..C.
        folder: cache folder of the embeddings of these rows.
        device: torch device of the encoder.
    """
    images = ManifestDataset(rows, root, cache=False)
    embed = EmbeddingCache(image_features)
    embed.fill(images, True, folder, device)
    views = [embed([image, image.flip(-1)]) for image in (images[i][0] for i in range(len(images)))]
    captions = sorted(set(rows["caption"]))
    return Crops(torch.stack(views), torch.tensor([int(label[0]) - 1 for label in rows["labels"]]),
                 torch.tensor([captions.index(text) for text in rows["caption"]]), classes, captions)


def contrast_loss(images: Tensor, texts: Tensor, true: Tensor, scale: Tensor) -> Tensor:
    """Return the symmetric contrastive loss for images with several true sentences.

    ``L = 1/2 Σ_{rows, columns} CE(softmax(e^s I Tᵀ), M / Σ M)``; with one true sentence per image this is CLIP's loss.

    Args:
        images: (N, D) unit vectors.
        texts: (N, D) unit vectors.
        true: (N, N) bool M: whether sentence j is true of image i; True on the diagonal.
        scale: ``e^s``.
    """
    logits, target = scale * images @ texts.T, true.to(images)
    rows = -(target / target.sum(1, keepdim=True) * logits.log_softmax(1)).sum(1).mean()
    columns = -(target / target.sum(0, keepdim=True) * logits.log_softmax(0)).sum(0).mean()
    return (rows + columns) / 2


class Sentences:
    """All training sentences for crops, embedded once by the frozen text encoder."""

    def __init__(self, classes: Sequence[str], captions: Sequence[str]) -> None:
        plain = [template.format(name) for name in classes for template in TEMPLATES]
        weather = [f"{template.format(name)}, {caption}" for name in classes for caption in captions
                   for template in TEMPLATES]
        self._features = text_features([*plain, *weather])
        self._plain, self._captions = len(plain), len(captions)

    def draw(self, label: Tensor, caption: Tensor, with_weather: Tensor) -> Tensor:
        """Return a random sentence (N, 384) for each crop; ``with_weather`` is (N,) bool."""
        template = torch.randint(len(TEMPLATES), label.shape)
        plain = label * len(TEMPLATES) + template
        weather = self._plain + (label * self._captions + caption) * len(TEMPLATES) + template
        return self._features[torch.where(with_weather, weather, plain)]


def train_projector(crops: Crops, params: PretrainTeacherParams) -> tuple[Projector, pd.DataFrame]:
    """Train the projector; return it and its loss per step. On the CPU the seed determines every bit.

    A sentence names the class, or the class and the frame's weather; it is true of every matching crop in the batch.
    """
    with torch.random.fork_rng():
        torch.manual_seed(params.seed)
        projector = Projector(params.size, params.hidden, params.dropout).train()
        sentences = Sentences(crops.classes, crops.captions)
        optimizer = torch.optim.AdamW(projector.parameters(), lr=params.lr, weight_decay=params.weight_decay)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, params.lr, total_steps=params.steps + 1,
                                                       pct_start=min(0.3, WARMUP / params.steps))
        history = []
        for step in tqdm(range(params.steps), "projector", unit="step", leave=False):
            started = time.perf_counter()
            loss = _batch_loss(projector, crops, sentences, params)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            history.append({"step": step + 1, "loss_contrast": loss.item(), "seconds": time.perf_counter() - started})
    return projector.eval(), pd.DataFrame(history)


def _batch_loss(projector: Projector, crops: Crops, sentences: Sentences, params: PretrainTeacherParams) -> Tensor:
    """Draw crops with equal class probabilities and a sentence for each; return the loss."""
    odds = 1 / torch.bincount(crops.label)[crops.label]
    chosen = torch.multinomial(odds, params.batch_size, replacement=True)
    label, caption = crops.label[chosen], crops.caption[chosen]
    weather = torch.rand(len(chosen)) < params.weather_texts
    features = crops.features[chosen, torch.randint(crops.features.shape[1], (len(chosen),))]
    same_weather = (caption[:, None] == caption[None]) | ~weather[None]
    true = (label[:, None] == label[None]) & same_weather
    texts = projector.texts(sentences.draw(label, caption, weather))
    return contrast_loss(projector.images(features), texts, true, projector.scale())
