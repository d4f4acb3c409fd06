"""Measure the quality of consensus labels, compared with the most confident labels of the same model.

Target labels are opened here only to measure; no training uses the result.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from dg_project.core.device import resolve_device
from dg_project.core.errors import ParameterError
from dg_project.data.dataset import ManifestDataset, chunks, target_to
from dg_project.data.origin import check_classes
from dg_project.methods.diga.consensus import BilateralConsensus, ConsensusParams
from dg_project.methods.model_folder import load_model
from dg_project.tasks.segmentation import IGNORE, Segmenter, input_masks

Counts = NDArray[np.int64]
THRESHOLD = 0.9
COLUMNS = ("rule", "coverage", "precision")
LOW, HIGH, BINS = -6.0, 17.0, 4600
"""Confidences are binned by their logits, which resolve values close to 1."""


def label_quality(labeller: Path, teacher: Path, unlabelled: pd.DataFrame, labelled: pd.DataFrame, root: Path,
                  params: ConsensusParams, device: str = "auto", batch_size: int = 4) -> pd.DataFrame:
    """Label images as self-training does, and count the correct pixels.

    The labels come from the labeller, which is fixed during a round, the features from the teacher. A round starts with
    one model as both and ends with a better teacher. Centroids are computed on the unlabelled images, as in training,
    and the labelled images get labels by both rules.

    Args:
        labeller: model folder of the segmenter that gives labels and confidence.
        teacher: model folder of the segmenter that gives the features, often the same.
        unlabelled: manifest of images for the centroids; their labels are not opened.
        labelled: manifest of images whose labels are compared with their masks.
        root: folder that the paths of both manifests start from.
        params: parameters of the consensus.
        device: device name.
        batch_size: images per batch.

    Returns:
        See ``quality_table``.

    Raises:
        ParameterError: a model does not segment.
        DataError: an image has no mask.
    """
    where = resolve_device(device)
    student, _ = _open(labeller, where)
    _, watched = _open(teacher, where)
    consensus = BilateralConsensus(student, params).to(where).eval()
    gathered = ManifestDataset(unlabelled, root, cache=False)
    consensus.set_targets(list(dict.fromkeys(gathered.domains)))
    for chunk in chunks(gathered, batch_size, where, "centroids"):
        consensus.label(watched, watched.prepare(chunk.images).images, [gathered.domains[row] for row in chunk.rows])
        consensus.centroids.update()
    classes = len(watched.classes)
    agreed, sure, total = np.zeros((classes, 2), np.int64), np.zeros(2, np.int64), 0
    ranked, own = np.zeros((2, classes, 2, BINS), np.int64)
    check_classes(labelled, watched.classes, "segmentation", f"the model in '{teacher}'")
    compared = ManifestDataset(labelled, root, parts=watched.parts, cache=False)
    for chunk in chunks(compared, batch_size, where, "label quality"):
        inputs = watched.prepare(chunk.images, [target_to(target, where) for target in chunk.targets])
        truth = input_masks(inputs)
        known = truth != IGNORE
        kept = consensus.label(watched, inputs.images, [compared.domains[row] for row in chunk.rows])[known] != IGNORE
        confidence, likely = _most_likely(consensus.model, inputs.images, known)
        right = likely == truth[known]
        agreed += np.stack([_counted(kept & (likely == label), right) for label in range(classes)])
        sure += _counted(confidence >= THRESHOLD, right)
        ranked += by_logit(confidence, right, likely, classes)
        confidence, likely = _most_likely(watched, inputs.images, known)
        own += by_logit(confidence, likely == truth[known], likely, classes)
        total += int(known.sum())
    return quality_table(agreed, sure, ranked, total, own)


def _open(folder: Path, device: torch.device) -> tuple[nn.ModuleDict, Segmenter]:
    """Return the predictor of a trained method, and its task model."""
    method = load_model(folder, device)
    if not isinstance(method.model, Segmenter):
        raise ParameterError(f"'{folder}' does not label pixels, so it has no consensus; set task=segmentation")
    return method.predictor(), method.model


@torch.no_grad()
def _most_likely(model: Segmenter, images: Tensor, known: Tensor) -> tuple[Tensor, Tensor]:
    """Return confidence and label of the n ``known`` pixels of normalised images (N, 3, H, W)."""
    confidence, likely = model.probabilities(model.neck(model.features(images))).max(1)
    return confidence[known], likely[known]


def by_logit(confidence: Tensor, right: Tensor, label: Tensor, classes: int) -> Counts:
    """Count pixels (n,) by label and logit of their confidence: (K, 2, BINS), all and the ``right`` ones."""
    place = ((confidence.double().logit() - LOW) / (HIGH - LOW) * BINS).clamp(0, BINS - 1).long() + label * BINS
    counts = [torch.bincount(place[chosen], minlength=classes * BINS).reshape(classes, BINS)
              for chosen in (torch.ones_like(right), right)]
    return torch.stack(counts, 1).cpu().numpy()


def quality_table(agreed: Counts, sure: Counts, ranked: Counts, total: int, own: Counts) -> pd.DataFrame:
    """Return coverage (share of pixels with a label) and precision (share of those that are correct) by rule.

    Args:
        agreed: (labelled, correct) pixels of the consensus by label, (K, 2).
        sure: (labelled, correct) pixels of the confidence threshold, (2,).
        ranked: counts of ``by_logit`` for the labeller.
        total: pixels with a true label.
        own: counts of ``by_logit`` for the teacher's own labels.

    Returns:
        ``rule``, ``coverage``, ``precision``: one row ``consensus``, one ``threshold``, one ``equal`` (as many of the
        most confident pixels as the consensus labels), one ``teacher`` (as many of the teacher's own) and many
        ``curve`` (any number of the most confident pixels).
        ``consensus_by_class`` and ``equal_by_class`` are means over the labels that the consensus gives: coverage of
        the pixels predicted as the label, and as many of *these* pixels as the consensus keeps.
    """
    pooled = agreed.sum(0)
    kept, right = _most_confident_first(ranked.sum(0))
    coverage, precision = kept / max(total, 1), right / np.maximum(kept, 1)
    covered = pooled[0] / max(total, 1)
    points = [("consensus", *_shares(pooled, total)), ("threshold", *_shares(sure, total)),
              ("equal", covered, _precision_of(pooled[0], kept, right)),
              ("teacher", covered, _precision_of(pooled[0], *_most_confident_first(own.sum(0))))]
    points += _means_over_classes(agreed, ranked)
    shown = np.unique(np.searchsorted(coverage, np.linspace(0, 1, 101)).clip(0, max(len(kept) - 1, 0)))
    curve = [("curve", float(coverage[i]), float(precision[i])) for i in shown] if len(kept) else []
    return pd.DataFrame([*points, *curve], columns=list(COLUMNS))


def _most_confident_first(ranked: Counts) -> tuple[Counts, Counts]:
    """Return cumulative (pixels, correct) by descending confidence, without empty bins: (2, BINS) -> (b,) each."""
    kept, right = ranked[:, ::-1].cumsum(1)
    return kept[kept > 0], right[kept > 0]


def _precision_of(pixels: int, kept: Counts, right: Counts) -> float:
    """Return the precision of the given number of most confident pixels; NaN if 0."""
    return float(np.interp(pixels, kept, right / kept)) if pixels and len(kept) else float("nan")


def _means_over_classes(agreed: Counts, ranked: Counts) -> list[tuple[str, float, float]]:
    """Return the rows ``consensus_by_class`` and ``equal_by_class``."""
    given = [label for label in range(len(agreed)) if agreed[label, 0]]
    if not given:
        return [(rule, 0.0, float("nan")) for rule in ("consensus_by_class", "equal_by_class")]
    coverage = float(np.mean([agreed[k, 0] / ranked[k, 0].sum() for k in given]))
    equal = [_precision_of(agreed[k, 0], *_most_confident_first(ranked[k])) for k in given]
    return [("consensus_by_class", coverage, float(np.mean([agreed[k, 1] / agreed[k, 0] for k in given]))),
            ("equal_by_class", coverage, float(np.mean(equal)))]


def _shares(counts: Counts, total: int) -> tuple[float, float]:
    return float(counts[0] / max(total, 1)), float(counts[1] / counts[0]) if counts[0] else float("nan")


def _counted(chosen: Tensor, right: Tensor) -> Counts:
    return np.array([int(chosen.sum()), int((chosen & right).sum())], np.int64)
