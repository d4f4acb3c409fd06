"""The CLIP filter of the gate, with a small random CLIP."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from huggingface_hub import constants
from PIL import Image
from streets_fixture import CLASSES

from dg_project.config import GateParams, SamplingParams
from dg_project.core.errors import CheckpointError
from dg_project.data.manifest import COLUMNS, PSEUDO_COLUMNS
from dg_project.pseudo.sampling import sample
from dg_project.vlm.clip import Recogniser

CPU = torch.device("cpu")


def test_recogniser_matches_transformers(clip: Path) -> None:
    from transformers import CLIPModel, CLIPProcessor

    pixels = np.random.default_rng(0).integers(0, 255, (40, 60, 3), dtype=np.uint8)
    boxes, labels = torch.tensor([[4.0, 2, 24, 22], [30.2, 10.7, 50.1, 29.5]]), torch.tensor([3, 5])
    got = Recogniser(str(clip), CLASSES, CPU)(torch.from_numpy(pixels).permute(2, 0, 1) / 255, boxes, labels)
    model, processor = CLIPModel.from_pretrained(clip).eval(), CLIPProcessor.from_pretrained(clip)
    for score, crop, name in zip(got, (pixels[2:22, 4:24], pixels[10:30, 30:51]), ("car", "person"), strict=True):
        given = processor(text=[f"a photo of a {c}" for c in CLASSES], images=Image.fromarray(crop),
                          return_tensors="pt", padding=True)
        with torch.no_grad():
            output = model(**given)
            cosine = torch.nn.functional.cosine_similarity(output.image_embeds, output.text_embeds)
            expected = (cosine * model.logit_scale.exp()).softmax(0)[CLASSES.index(name)]
        assert float(score) == pytest.approx(float(expected), rel=1e-4)


def test_recogniser_without_boxes(clip: Path) -> None:
    nothing = torch.zeros(0, 4), torch.zeros(0, dtype=torch.int64)
    assert Recogniser(str(clip), CLASSES, CPU)(torch.zeros(3, 20, 20), *nothing).shape == (0,)


@pytest.mark.parametrize(("least", "kept"), [(0.0, True), (1.0, False)])
def test_gate_drops_unrecognised_boxes(
    clip: Path, tiny_streets: Path, tiny_manifest: pd.DataFrame, tiny_pseudo: tuple[Path, pd.DataFrame],
    tmp_path: Path, least: float, kept: bool
) -> None:
    root, pseudo = tiny_pseudo
    known = pseudo["source_image_id"].isin(pseudo["source_image_id"].head(2))
    candidates = pseudo[(pseudo["domain"] == "fog") | known][[*COLUMNS, *PSEUDO_COLUMNS]]
    source = tiny_manifest[tiny_manifest["role"] == "source"]
    gate = GateParams(clip=str(clip), min_recognition=least, min_visibility=-1)
    recogniser = Recogniser(str(clip), CLASSES, CPU)

    def only_at_night(image: torch.Tensor, boxes: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        dark = float(image.mean()) < 0.3
        return recogniser(image, boxes, labels) if dark else torch.ones(len(boxes))

    rows = sample(source, tiny_streets, candidates, root, SamplingParams(gate=gate), tmp_path / "out", only_at_night)
    assert rows.loc[rows["domain"] == "fog", "kept"].all()
    assert (rows.loc[rows["domain"] == "night", "kept"] == kept).all()


def test_gate_does_not_ask_for_ignored_classes(
    tiny_streets: Path, tiny_manifest: pd.DataFrame, tiny_pseudo: tuple[Path, pd.DataFrame], tmp_path: Path
) -> None:
    """Boxes of ignored classes have no name that could be recognised, and decide nothing."""
    root, pseudo = tiny_pseudo
    candidates = pseudo[pseudo["domain"] == "fog"].head(2)[[*COLUMNS, *PSEUDO_COLUMNS]].reset_index(drop=True)
    labels = [[int(label) for label in row] for row in candidates["labels"]]
    candidates["labels"] = [[-1, *row[1:]] for row in labels]
    candidates["difficult"] = [[True, *([False] * (len(row) - 1))] for row in labels]
    source = tiny_manifest[tiny_manifest["role"] == "source"]
    asked: list[list[int]] = []

    def known(image: torch.Tensor, boxes: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        assert len(boxes) == len(labels)
        asked.append(labels.tolist())
        return torch.ones(len(boxes))

    gate = GateParams(clip="x", min_recognition=0.5, min_visibility=-1)
    rows = sample(source, tiny_streets, candidates, root, SamplingParams(gate=gate), tmp_path / "out", known)
    assert asked == [row[1:] for row in labels]
    assert rows["kept"].all()
    assert [len(seen) for seen in rows["visibility"]] == [len(row) for row in labels]


def test_recogniser_invalid_checkpoint_error(clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(CheckpointError, match=r"it has no readable config\.json"):
        Recogniser(str(tmp_path), CLASSES, CPU)
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(CheckpointError, match="is not a CLIP model but 'bert'"):
        Recogniser(str(tmp_path), CLASSES, CPU)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(CheckpointError, match="'nobody/no-clip' cannot be opened"):
        Recogniser("nobody/no-clip", CLASSES, CPU)
