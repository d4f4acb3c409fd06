"""The classifier: targets, the loss against its definition, decoding."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from dg_project.config import BackboneParams, ClassificationParams
from dg_project.tasks import build_task
from dg_project.tasks.classification import ClassHead, Classifier, true_labels

CLASSES = ["bus", "car", "person"]


@pytest.fixture
def classifier() -> Classifier:
    torch.manual_seed(0)
    model = build_task("classification", BackboneParams(name="test_efficientnet", weights=None, frozen_stages=0),
                       ClassificationParams(image_size=(32, 32), dropout=0), CLASSES)
    assert isinstance(model, Classifier)
    return model.train()


def targets(*labels: int) -> list[dict[str, Tensor]]:
    return [{"boxes": torch.zeros(1, 4), "labels": torch.tensor([label]), "difficult": torch.tensor([False])}
            for label in labels]


def images(n: int) -> list[Tensor]:
    generator = torch.Generator().manual_seed(1)
    return [torch.rand(3, 20 + 9 * k, 31, generator=generator) for k in range(n)]


def test_prepare_any_size(classifier: Classifier) -> None:
    inputs = classifier.prepare(images(3), targets(1, 3, 2))
    assert inputs.images.shape == (3, 3, 32, 32)
    assert true_labels(inputs).tolist() == [0, 2, 1]


def test_classification_loss(classifier: Classifier) -> None:
    inputs = classifier.prepare(images(2), targets(1, 3))
    maps = classifier.neck(classifier.features(inputs.images))
    got = classifier.losses(maps, inputs, torch.tensor([1.0, 0.5]))["loss_classification"]
    log_p = classifier.logits(maps).log_softmax(1)
    torch.testing.assert_close(got, -(log_p[0, 0] + 0.5 * log_p[1, 2]) / 2)


def test_decode_probabilities(classifier: Classifier) -> None:
    for found in classifier.predict(images(2)):
        assert found["probabilities"].shape == (3,)
        assert found["probabilities"].sum().item() == pytest.approx(1)


def test_class_head(classifier: Classifier) -> None:
    head = classifier.aux_head(8)
    assert isinstance(head, ClassHead)
    features = torch.randn(2, 8, 3, 3)
    logits = head(features)
    torch.testing.assert_close(logits, head.linear(features.mean((2, 3))))
    assert head.entropy(torch.zeros(2, 3)).item() == pytest.approx(1)
    inputs = classifier.prepare(images(2), targets(2, 2))
    torch.testing.assert_close(head.loss(logits, inputs), F.cross_entropy(logits, torch.tensor([1, 1])))
