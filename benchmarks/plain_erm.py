"""ERM by a plain loop of torch, timm and Pillow: does our training reach what such a loop reaches?

    python benchmarks/plain_erm.py --env pacs_small --seeds 0 1 2 --out benchmarks/results/pacs_plain_erm.csv

Trains the network of ``kedro run --env=pacs_small --pipeline=leave_one_out`` on the same images for the same steps, and
scores the domain that was left out. Only the lists of images come from the project. Batches, augmentation, network,
optimiser, schedule, selection and accuracy are written here. A stopped run continues with the missing rows; with
``--records`` the table of differences is printed.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import timm
import torch
import torch.nn.functional as F
from PIL import Image
from project import ROOT, run_parameters
from torch import Tensor, nn

from dg_project.backbones.weights import package_weights
from dg_project.config import Settings
from dg_project.data.manifest import select
from dg_project.evaluation.intervals import paired_test
from dg_project.experiments.leave_one_out import Fold, folds, read_folders

MEAN, STD = (torch.tensor(values).view(3, 1, 1) for values in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))


class Network(nn.Module):
    """The features of timm, their mean over the positions, dropout and a linear layer; stages frozen as in ours."""

    def __init__(self, settings: Settings, n_classes: int) -> None:
        super().__init__()
        name = settings.backbone.name
        self.body = timm.create_model(name, features_only=True, out_indices=[4])
        self.body.load_state_dict(package_weights(name), strict=False)
        channels = self.body.feature_info.channels()[-1]
        self.head = nn.Sequential(nn.Dropout(settings.classification.dropout), nn.Linear(channels, n_classes))
        if settings.backbone.frozen_stages:
            assert settings.backbone.frozen_stages == 2, "this script knows how to freeze none or two stages"
            for part in ("conv_stem", "bn1", "blocks.0", "blocks.1"):
                self.body.get_submodule(part).requires_grad_(False)

    def train(self, mode: bool = True) -> Network:
        """Keep batch normalisation frozen."""
        super().train(mode)
        for module in self.body.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.eval().requires_grad_(False)
        return self

    def forward(self, images: Tensor) -> Tensor:
        """Return logits."""
        logits: Tensor = self.head(self.body(images)[0].mean((2, 3)))
        return logits


class Images:
    """Images and labels of a manifest, resized once."""

    def __init__(self, rows: pd.DataFrame, root: Path, side: int) -> None:
        self.labels = torch.tensor([int(labels[0]) - 1 for labels in rows["labels"]])
        self.domains = rows["domain"].to_numpy()
        self.pixels = [self._open(root / path, side) for path in rows["image"]]

    @staticmethod
    def _open(path: Path, side: int) -> Tensor:
        with Image.open(path) as image:
            pixels = torch.from_numpy(np.array(image.convert("RGB"))).permute(2, 0, 1)[None].float()
        resized = F.interpolate(pixels, (side, side), mode="bilinear", antialias=True)[0]
        return resized.round().to(torch.uint8)

    def batch(self, rows: list[int], flips: list[bool]) -> tuple[Tensor, Tensor]:
        """Return normalised images and labels."""
        images = [self.pixels[i].flip(-1) if flip else self.pixels[i] for i, flip in zip(rows, flips, strict=True)]
        return (torch.stack(images).float() / 255 - MEAN) / STD, self.labels[rows]

    def batches(self, per_domain: int, generator: np.random.Generator, flip: float) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield batches with as many images of every domain, each domain reshuffled when it is used up."""
        places = {domain: np.flatnonzero(self.domains == domain) for domain in dict.fromkeys(self.domains)}
        waiting: dict[str, list[int]] = {domain: [] for domain in places}
        while True:
            rows: list[int] = []
            for domain, all_rows in places.items():
                while len(waiting[domain]) < per_domain:
                    waiting[domain] += generator.permutation(all_rows).tolist()
                rows += waiting[domain][:per_domain]
                waiting[domain] = waiting[domain][per_domain:]
            yield self.batch(rows, (generator.random(len(rows)) < flip).tolist())


@torch.inference_mode()
def accuracy(network: Network, images: Images) -> float:
    """Return the share of correct images."""
    network.eval()
    right = 0
    for first in range(0, len(images.labels), 64):
        rows = list(range(first, min(first + 64, len(images.labels))))
        pixels, labels = images.batch(rows, [False] * len(rows))
        right += int((network(pixels).argmax(1) == labels).sum())
    return right / len(images.labels)


def train(fold: Fold, settings: Settings, root: Path, seed: int, n_classes: int) -> dict[str, Any]:
    """Train on the sources of a fold and return the scores of the selected weights."""
    params, side = settings.training, settings.classification.image_size[0]
    torch.manual_seed(seed)
    parts = [Images(select(fold.source, split=split), root, side) for split in ("train", "val")]
    network = Network(settings, n_classes)
    trained = [weight for weight in network.train().parameters() if weight.requires_grad]
    optimizer = torch.optim.AdamW(
        [{"params": [w for w in trained if (w.ndim > 1) == decayed], "weight_decay": params.weight_decay * decayed}
         for decayed in (True, False)], lr=params.lr)

    def factor(step: int) -> float:
        warm = min(1.0, (step + 1) / (params.warmup_steps + 1))
        done = max(0, step - params.warmup_steps) / max(1, params.max_steps - params.warmup_steps)
        return warm * 0.5 * (1 + math.cos(math.pi * done))

    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, factor)
    batches = parts[0].batches(settings.leave_one_out.images_per_domain, np.random.default_rng(seed), params.flip)
    best, weights, started = -1.0, {}, time.perf_counter()
    for step in range(params.max_steps):
        images, labels = next(batches)
        loss = F.cross_entropy(network.train()(images), labels)
        optimizer.zero_grad()
        loss.backward()
        if params.grad_clip is not None:
            nn.utils.clip_grad_norm_(trained, params.grad_clip)
        optimizer.step()
        schedule.step()
        if (step + 1) % params.validate_every == 0 or step + 1 == params.max_steps:
            score = accuracy(network, parts[1])
            if score > best:
                best, weights = score, {name: value.clone() for name, value in network.state_dict().items()}
    seconds = time.perf_counter() - started
    network.load_state_dict(weights)
    held_out = Images(fold.scored[fold.scored["domain"] == fold.held_out], root, side)
    return {"source_val": best, "accuracy": accuracy(network, held_out), "seconds": round(seconds, 1)}


def compare(plain: pd.DataFrame, records: pd.DataFrame) -> pd.DataFrame:
    """Return the mean accuracy of both loops per held-out domain, and the difference paired by seed with its interval.

    Args:
        plain: table of this script.
        records: records of ``leave_one_out``.
    """
    ours = records[(records["method"] == "erm") & (records["metric"] == "accuracy")]
    ours = ours.pivot_table(index="seed", columns="domain", values="value")
    theirs = plain.pivot_table(index="seed", columns="held_out", values="accuracy")
    theirs["unseen_mean"] = theirs.mean(axis=1)
    seeds = sorted(set(ours.index) & set(theirs.index))
    rows = []
    for domain in theirs:
        one, other = (100 * table.loc[seeds, domain] for table in (ours, theirs))
        paired = paired_test(one.tolist(), other.tolist(), 0.95)
        rows.append({"held_out": domain, "ours": one.mean(), "plain": other.mean(), "difference": paired.difference,
                     "low": paired.low, "high": paired.high, "seeds": len(seeds)})
    return pd.DataFrame(rows).round(1)


def main() -> None:
    """Run the script."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--env", default="pacs_small")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "pacs_plain_erm.csv")
    parser.add_argument("--records", type=Path, help="records of leave_one_out to compare with")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    settings = Settings.model_validate(run_parameters(options.env))
    root = ROOT / settings.data.root
    images, classes, _ = read_folders(root, settings.leave_one_out, settings)
    table = pd.read_csv(options.out) if options.out.exists() else pd.DataFrame(columns=["held_out", "seed"])
    for seed in options.seeds:
        for fold in folds(images, settings.leave_one_out.train_share, seed):
            if ((table["held_out"] == fold.held_out) & (table["seed"] == seed)).any():
                continue
            row = {"held_out": fold.held_out, "seed": seed} | train(fold, settings, root, seed, len(classes))
            print(row, flush=True)
            table = pd.concat([table, pd.DataFrame([row])], ignore_index=True)
            table.to_csv(options.out, index=False)
    if options.records:
        print(compare(table, pd.read_csv(options.records)).to_string(index=False))


if __name__ == "__main__":
    main()
