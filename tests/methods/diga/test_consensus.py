"""Centroids and bilateral consensus against their definitions."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from dg_project.config import BackboneParams, SegmentationParams
from dg_project.methods.diga.consensus import (
    BilateralConsensus,
    Centroids,
    ConsensusParams,
    bilateral_consensus,
    class_means,
)
from dg_project.tasks import build_task


def student() -> nn.ModuleDict:
    torch.manual_seed(0)
    head = SegmentationParams(image_size=(64, 96), channels=16, classes=["road", "sky", "car"])
    backbone = BackboneParams(name="test_resnet", weights=None, frozen_stages=0)
    return nn.ModuleDict({"model": build_task("segmentation", backbone, head, head.classes)})


def test_class_means() -> None:
    torch.manual_seed(0)
    features, labels = torch.randn(2, 4, 3, 5), torch.randint(3, (2, 3, 5))
    labels[0, 0, :3] = 255
    means, enough = class_means(features, labels, 3, 5)
    for n in range(2):
        for k in range(3):
            inside = labels[n] == k
            assert bool(enough[n, k]) == (int(inside.sum()) >= 5)
            torch.testing.assert_close(means[n, k], features[n][:, inside].mean(1))
    assert not enough.all()
    assert enough.any()


def test_centroid_updates() -> None:
    centroids = Centroids(1, 2, 1, ConsensusParams(centroid_images=3, centroid_momentum=0.1, min_pixels=1))

    def see(*values: float) -> float:
        features = torch.tensor(values).view(-1, 1, 1, 1)
        before = centroids.vectors.clone()
        labels, domains = torch.zeros(len(values), 1, 1).long(), torch.zeros(len(values)).long()
        centroids.accumulate(features, labels, domains)
        assert torch.equal(before, centroids.vectors), "centroids are constant within a step"
        centroids.update()
        return float(centroids.vectors[0, 0])

    assert see(2.0) == pytest.approx(2.0)
    assert see(4.0, 6.0) == pytest.approx(4.0)
    assert see(14.0) == pytest.approx(0.9 * 4 + 0.1 * 14)
    assert see(1.0, 3.0) == pytest.approx(0.81 * 5 + 0.19 * 2)
    assert see() == pytest.approx(0.81 * 5 + 0.19 * 2)
    assert centroids.seen.tolist() == [[6, 0]]


def test_nearest_centroid() -> None:
    torch.manual_seed(0)
    centroids = Centroids(2, 4, 3, ConsensusParams())
    features, domains = torch.randn(2, 3, 4, 5), torch.tensor([1, 1])
    assert (centroids.nearest(features, domains, (4, 5)) == 255).all()
    vectors = centroids.vectors[1].copy_(torch.randn(4, 3))
    vectors[2] = features.mean((0, 2, 3))  # the nearest of all, but never seen
    centroids.seen[1] = torch.tensor([5.0, 1.0, 0.0, 2.0])
    found = centroids.nearest(features, domains, (4, 5))
    for n in range(2):
        for y in range(4):
            for x in range(5):
                distance = (features[n, :, y, x] - vectors).norm(dim=1)
                distance[2] = torch.inf
                assert int(found[n, y, x]) == int((-distance).softmax(0).argmax())
    assert centroids.nearest(features, domains, (8, 10)).shape == (2, 8, 10)


def test_centroids_per_domain() -> None:
    centroids = Centroids(2, 1, 1, ConsensusParams(min_pixels=1))
    features, labels = torch.tensor([2.0, 4.0, 9.0]).view(-1, 1, 1, 1), torch.zeros(3, 1, 1, dtype=torch.int64)
    centroids.accumulate(features, labels, torch.tensor([0, 0, 1]))
    centroids.update()
    assert centroids.vectors.flatten().tolist() == [3, 9]
    assert centroids.seen.flatten().tolist() == [2, 1]
    centroids.seen[1] = 0
    assert centroids.nearest(features, torch.tensor([0, 1, 0]), (1, 1)).flatten().tolist() == [0, 255, 0]


def test_bilateral_consensus() -> None:
    predicted, nearest = torch.tensor([[[0, 1, 2]]]), torch.tensor([[[0, 2, 255]]])
    assert bilateral_consensus(predicted, nearest).tolist() == [[[0, 255, 255]]]


def test_round_copies_student() -> None:
    own = student()
    module = BilateralConsensus(own, ConsensusParams(start=0.5, rounds=2)).train()
    module.set_targets(["fog"])
    assert not module.labeller.training
    weight = own["model"].classifier.weight
    started = []
    for step, progress in enumerate((0.5, 0.6, 0.75, 0.9)):
        nn.init.constant_(weight, float(step))
        module.centroids.seen += 1
        started.append(module.start_round(own, progress))
        copied = float(module.labeller["model"].classifier.weight[0, 0, 0, 0])
        assert copied == {0: 0.0, 1: 0.0, 2: 2.0, 3: 2.0}[step]
    assert started == [True, False, True, False]
    assert module.centroids.seen[0, 0] == 1, "a round resets the centroids"


def test_consensus_subset_of_predictions() -> None:
    own = student()
    module = BilateralConsensus(own, ConsensusParams(min_pixels=1)).train()
    module.set_targets(["fog", "rain"])
    module.start_round(own, 0.5)
    images = torch.randn(2, 3, 64, 96)
    first = module.label(own["model"], images, ["rain", "fog"])
    assert (first == 255).all(), "no centroid yet"
    module.centroids.update()
    second = module.label(own["model"], images, ["rain", "fog"])
    kept = second != 255
    assert kept.any()
    logits, _ = own["model"].look(images)
    whole = nn.functional.interpolate(logits, (64, 96), mode="bilinear").argmax(1)
    assert torch.equal(second[kept], whole[kept])
    assert own["model"].training
