"""The embedded teacher is trained on object crops of captioned frames."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pandas as pd

from dg_project.config import PretrainTeacherParams
from dg_project.config.paths import locate
from dg_project.core.cache import cache_folder
from dg_project.core.files import FolderWriter
from dg_project.data.manifest import manifest_fingerprint
from dg_project.data.objects import objects


def cut_crops(params: PretrainTeacherParams) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the object crops of the training scenes and of the held-out scenes, with the caption of their frame."""
    from dg_project.pretraining.clip.card import weather_of
    from dg_project.pretraining.ldm.corpus import hold_out, read_corpus
    from dg_project.pretraining.ldm.object_detector import corpus_manifest

    corpus = Path(params.corpus)
    groups = read_corpus(corpus)
    classes = sorted({label for group in groups for label in group.labels})
    captions = pd.read_csv(corpus / "captions.csv").set_index("file")["caption"]

    def crops(part: list[Any]) -> pd.DataFrame:
        frames = corpus_manifest(part, corpus, classes)
        frames = frames.assign(caption=frames["image"].map(captions), scene=frames["image"].str.split("/").str[0])
        cut = objects(frames, params.margin, params.min_side)
        return cut.assign(class_name=[classes[int(label[0]) - 1] for label in cut["labels"]])

    training, held_out = hold_out(groups)
    seen = crops(training)
    return seen[seen["caption"].map(weather_of).isin(params.weathers)].reset_index(drop=True), crops(held_out)


def train_teacher(crops: pd.DataFrame, held_out: pd.DataFrame, params: PretrainTeacherParams,
                  workspace: str) -> tuple[FolderWriter, pd.DataFrame]:
    """Embed the crops once, train the projector on them and measure it on the held-out scenes.

    Returns:
        A writer of the teacher's folder, and the loss by step.
    """
    from dg_project.core.device import resolve_device
    from dg_project.pretraining.clip.pretraining import read_crops, train_projector

    root = Path(params.corpus)
    names = dict(zip((int(label[0]) for label in crops["labels"]), crops["class_name"], strict=True))
    classes = [names[label] for label in sorted(names)]
    folder = cache_folder(Path(workspace), "pretrain_teacher", manifest_fingerprint(crops),
                   [[int(side) for side in crop] for crop in crops["crop"]],
                          code=["dg_project.pretraining.clip.pretraining"])
    seen = read_crops(crops, root, classes, folder, resolve_device(params.device))
    projector, history = train_projector(seen, params)

    def write(target: Path) -> None:
        _write(target, projector, crops, held_out, classes, params)

    return write, history


def _write(target: Path, projector: Any, crops: pd.DataFrame, held_out: pd.DataFrame, classes: list[str],
           params: PretrainTeacherParams) -> None:
    """Write the teacher, open what was written, and let the card say what that can do."""
    from dg_project.data.dataset import ManifestDataset
    from dg_project.pretraining.clip import card
    from dg_project.vlm.clip_like import ClipLike, save_clip_like

    given = params.model_copy(update={"corpus": os.path.relpath(params.corpus, locate("."))})
    facts: dict[str, Any] = {
        "size": params.size, "hidden": params.hidden, "classes": classes,
        "parameters": sum(weight.numel() for weight in projector.parameters()), "train_crops": len(crops),
        "train_scenes": int(crops["scene"].nunique()), "held_out_scenes": int(held_out["scene"].nunique()),
        "example": f"{card.PROMPT.replace('{class}', str(crops['class_name'].iloc[-1]))}, {crops['caption'].iloc[-1]}",
        "majority": card.majority_share(held_out), "recipe": given.model_dump(mode="json"),
    }
    save_clip_like(projector, target, facts)
    images = ManifestDataset(held_out, Path(params.corpus), cache=False)
    facts["zero_shot"] = card.zero_shot(ClipLike.open(target), held_out, images, classes)
    save_clip_like(projector, target, facts)
    (target / "README.md").write_text(card.readme(params, facts))
