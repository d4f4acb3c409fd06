"""Label quality against counting pixel by pixel, and the files it opens."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from streets_fixture import CLASSES, TARGETS

from dg_project.config import TASK_PARAMS, BackboneParams, SegmentationParams, Task
from dg_project.core.errors import ParameterError
from dg_project.data.dataset import ManifestDataset
from dg_project.methods.diga.consensus import BilateralConsensus, ConsensusParams
from dg_project.methods.diga.label_quality import BINS, by_logit, label_quality, quality_table
from dg_project.methods.model_folder import ModelSpec, build_method, load_model, save_model
from dg_project.tasks.segmentation import Segmenter


def test_quality_table_equals_sorting() -> None:
    generator = torch.Generator().manual_seed(0)
    confidence = torch.rand(5000, generator=generator) ** 0.1
    right = torch.rand(5000, generator=generator) < confidence
    agreed = torch.rand(5000, generator=generator) < 0.4
    label = torch.randint(3, (5000,), generator=generator)
    ranked = by_logit(confidence, right, label, 4)
    assert ranked.shape == (4, 2, BINS)
    assert ranked.sum((0, 2)).tolist() == [5000, int(right.sum())]
    sure = confidence >= 0.9
    by_label = [agreed & (label == k) for k in range(4)]
    own_right = torch.rand(5000, generator=generator) < 0.9
    own = by_logit(confidence.flip(0), own_right, label, 4)
    found = quality_table(np.stack([counted(rule, right) for rule in by_label]), counted(sure, right), ranked,
                          5000, own).set_index("rule")
    order = confidence.argsort(descending=True)
    shares = right[order].double().cumsum(0) / torch.arange(1, 5001)
    n = int(agreed.sum())
    assert found.loc["consensus"].tolist() == pytest.approx([n / 5000, float(right[agreed].double().mean())])
    assert found.loc["threshold"].tolist() == pytest.approx([float(sure.double().mean()),
                                                             float(right[sure].double().mean())])
    assert found.loc["equal"].tolist() == pytest.approx([n / 5000, float(shares[n - 1])], abs=2e-3)
    most = own_right[confidence.flip(0).argsort(descending=True)[:n]]
    assert found.loc["teacher"].tolist() == pytest.approx([n / 5000, float(most.double().mean())], abs=2e-3)
    for coverage, precision in found.loc["curve"].to_numpy()[5:]:
        assert precision == pytest.approx(float(shares[round(coverage * 5000) - 1]), abs=1e-9)
    assert found.loc["curve", "coverage"].iloc[-1] == 1
    means = [(float(right[rule].double().mean()), float(right[label == k][confidence[label == k].argsort(
        descending=True)[:int(rule.sum())]].double().mean())) for k, rule in enumerate(by_label[:3])]
    coverage = float(np.mean([float(rule.sum() / (label == k).sum()) for k, rule in enumerate(by_label[:3])]))
    assert found.loc["consensus_by_class"].tolist() == pytest.approx([coverage, np.mean([ours for ours, _ in means])])
    assert found.loc["equal_by_class"].tolist() == pytest.approx([coverage, np.mean([equal for _, equal in means])],
                                                                 abs=2e-3)


def counted(rule: torch.Tensor, right: torch.Tensor) -> np.ndarray:
    return np.array([int(rule.sum()), int((rule & right).sum())])


def test_quality_table_extremes() -> None:
    ranked = by_logit(torch.tensor([0.0, 1.0, 1.0]), torch.tensor([False, True, False]), torch.zeros(3).long(), 1)
    assert ranked[0, :, 0].tolist() == [1, 0]
    assert ranked[0, :, -1].tolist() == [2, 1]
    nothing = np.zeros((1, 2), np.int64), np.zeros(2, np.int64)
    found = quality_table(*nothing, ranked, 3, ranked).set_index("rule")
    rules = ["consensus", "threshold", "equal", "teacher", "consensus_by_class", "equal_by_class"]
    assert found["coverage"][rules].tolist() == [0] * 6
    assert found["precision"][rules].isna().all()
    assert quality_table(*nothing, 0 * ranked, 0, 0 * ranked)["precision"].isna().all()


def stored(folder: Path, task: Task = "segmentation", seed: int = 1) -> Path:
    head = {"image_size": (64, 96)} | ({"channels": 16} if task == "segmentation" else {})
    classes = SegmentationParams().classes if task == "segmentation" else CLASSES
    spec = ModelSpec(method="erm", task=task, classes=classes, domains=["day"],
                     head=TASK_PARAMS[task](**head).model_dump(mode="json"),
                     backbone=BackboneParams(name="test_resnet", weights=None, frozen_stages=0))
    save_model(build_method(spec, seed=seed), spec, folder)
    return folder


def test_label_quality_counts(
        tiny_streets: Path, tiny_manifest: pd.DataFrame, tiny_adapt: pd.DataFrame, tmp_path: Path) -> None:
    for target in TARGETS:
        for path in (tiny_streets / target).glob("VOC2007/*/adapt_*"):
            if path.parent.name != "JPEGImages":
                path.unlink()
    labelled = tiny_manifest[tiny_manifest["role"] == "target"].groupby("domain").head(2)
    params, folders = ConsensusParams(min_pixels=1), [stored(tmp_path / f"{seed}", seed=seed) for seed in (1, 2)]
    found = label_quality(*folders, tiny_adapt, labelled, tiny_streets, params, "cpu", 3).set_index("rule")
    labeller, task = load_model(folders[0]), load_model(folders[1]).model
    assert isinstance(task, Segmenter)
    consensus = BilateralConsensus(labeller.predictor(), params).eval()
    consensus.set_targets(TARGETS)
    unlabelled = ManifestDataset(tiny_adapt, tiny_streets)
    rows = ManifestDataset(labelled, tiny_streets, parts=("mask",))
    for start in range(0, len(unlabelled), 3):
        pixels = [unlabelled[i][0].float() / 255 for i in range(start, min(start + 3, len(unlabelled)))]
        consensus.label(task, task.prepare(pixels).images, unlabelled.domains[start:start + 3])
        consensus.centroids.update()
    kept = right = total = 0
    for i in range(len(rows)):
        image, target = rows[i]
        labels = consensus.label(task, task.prepare([image.float() / 255]).images, [rows.domains[i]])[0]
        known = target["mask"] != 255
        total += int(known.sum())
        kept += int(((labels != 255) & known).sum())
        right += int(((labels == target["mask"]) & known).sum())
    assert 0 < kept < total
    assert found.loc["consensus"].tolist() == pytest.approx([kept / total, right / kept], abs=2e-3)
    for rule in ("equal", "teacher"):
        assert found.loc[rule, "coverage"] == found.loc["consensus", "coverage"]
    assert found.loc["equal", "precision"] != found.loc["teacher", "precision"]


def test_label_quality_same_labeller_and_teacher(tiny_streets: Path, tiny_manifest: pd.DataFrame,
                                                 tiny_adapt: pd.DataFrame, tmp_path: Path) -> None:
    labelled = tiny_manifest[tiny_manifest["role"] == "target"].groupby("domain").head(2)
    model = stored(tmp_path / "model")
    found = label_quality(model, model, tiny_adapt, labelled, tiny_streets, ConsensusParams(min_pixels=1), "cpu")
    assert found[found["rule"] == "equal"].to_numpy()[0, 1:] == pytest.approx(
        found[found["rule"] == "teacher"].to_numpy()[0, 1:])


def test_label_quality_refuses_classifier(tiny_streets: Path, tiny_manifest: pd.DataFrame,
                                          tmp_path: Path) -> None:
    shutil.rmtree(tiny_streets)
    with pytest.raises(ParameterError, match="does not label pixels"):
        label_quality(*[stored(tmp_path / "model", "classification")] * 2, tiny_manifest, tiny_manifest, tiny_streets,
                      ConsensusParams(), "cpu")
