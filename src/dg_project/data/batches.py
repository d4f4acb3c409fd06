"""Training batches as a pure function of (seed, step), so that a resumed run sees the same images."""

from __future__ import annotations

import math
import queue
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal, NamedTuple, Self, get_args

import numpy as np
import torch
from torch import Tensor

from dg_project.config import TrainingParams
from dg_project.core.errors import DataError, ParameterError
from dg_project.data.dataset import ManifestDataset, target_to
from dg_project.data.images import mirrored, to_float

Batching = Literal["source", "mixed", "paired", "halves", "apart"]
Item = tuple[int, int]
"""(0 for the source or 1 for the pseudo data set, index in it)."""


@dataclass
class Batch:
    """N images of several domains.

    Attributes:
        images: N float32 tensors (3, H, W), 0..1; sizes may differ.
        targets: N dicts: ``boxes`` (n, 4) float32 xyxy, ``labels`` (n,) int64, ``difficult`` (n,) bool, ``image_id``,
            and if the task needs them ``mask`` (H, W) uint8 and ``instances`` (n, H, W) bool.
        domain_id: (N,) int64; 0 is the source (0..S-1 for S sources), followed by the pseudo domains.
        pair_id: (N,) int64; index of the source image that a row was made from. Rows with equal ids share their
            geometry, including the flip.
        weight: (N,) float32; weight of the image in the losses, 0..1.
        adapt: additional unlabelled target images, for UDA methods; see ``data.unlabelled``.
        origins: source image (3, H, W) of each pseudo row (same flip), else None; ``paired`` batches only.
        flipped: whether each row is mirrored left to right; None where it is unknown.
    """

    images: list[Tensor]
    targets: list[dict[str, Any]]
    domain_id: Tensor
    pair_id: Tensor
    weight: Tensor
    adapt: Batch | None = None
    origins: list[Tensor | None] | None = None
    flipped: list[bool] | None = None

    def __len__(self) -> int:
        return len(self.images)

    def to(self, device: torch.device | str) -> Self:
        """Return the batch with every tensor on ``device``."""
        targets = [target_to(target, device) for target in self.targets]
        origins = self.origins and [None if image is None else image.to(device) for image in self.origins]
        return type(self)([image.to(device) for image in self.images], targets, self.domain_id.to(device),
                          self.pair_id.to(device), self.weight.to(device), self.adapt and self.adapt.to(device),
                          origins, self.flipped)

    def rows(self, which: Tensor) -> Self:
        """Return the rows ``which``, a bool mask (N,) or int64 indices (n,), without ``adapt``."""
        index = which.nonzero().flatten() if which.dtype == torch.bool else which
        chosen = index.tolist()
        return type(self)([self.images[i] for i in chosen], [self.targets[i] for i in chosen], self.domain_id[index],
                          self.pair_id[index], self.weight[index],
                          origins=self.origins and [self.origins[i] for i in chosen],
                          flipped=self.flipped and [self.flipped[i] for i in chosen])

    def joined(self, other: Batch) -> Self:
        """Concatenate two batches, without ``adapt``."""
        origins = [image for batch in (self, other) for image in batch.origins or [None] * len(batch)]
        return type(self)([*self.images, *other.images], [*self.targets, *other.targets],
                          torch.cat([self.domain_id, other.domain_id]), torch.cat([self.pair_id, other.pair_id]),
                          torch.cat([self.weight, other.weight]), origins=origins)


class Part(NamedTuple):
    """A micro-batch of a step.

    Attributes:
        number: index of the part in the step.
        share: its fraction of the step's rows.
        batch: its rows.
    """

    number: int
    share: float
    batch: Batch


@dataclass(frozen=True)
class Shard:
    """Split of every batch into ``parts``, of which this process gets every ``processes``-th.

    The split depends only on the batch and on ``parts``, so the number of processes does not change it.
    """

    parts: int = 1
    process: int = 0
    processes: int = 1

    def select(self, pairs: Sequence[int], source: Sequence[bool]) -> Iterator[tuple[int, list[int]]]:
        """Yield the number and the rows of each non-empty part of this process.

        Args:
            pairs: pair id of each row of the batch.
            source: whether each row is a source image.
        """
        for number, rows in enumerate(split_rows(pairs, source, self.parts)):
            if rows and number % self.processes == self.process:
                yield number, rows


WHOLE = Shard()


def split_rows(pairs: Sequence[int], source: Sequence[bool], parts: int) -> list[list[int]]:
    """Return the sorted rows of each part; rows of one pair stay together.

    Each pair goes to the smallest part so far, pairs with a source image first, because losses may need a source image
    in every part. With fewer pairs than parts, the last parts are empty.
    """
    groups: dict[int, list[int]] = {}
    for row, pair in enumerate(pairs):
        groups.setdefault(pair, []).append(row)
    rows: list[list[int]] = [[] for _ in range(parts)]
    for group in sorted(groups.values(), key=lambda group: not any(source[row] for row in group)):
        min(rows, key=len).extend(group)
    return [sorted(part) for part in rows]


def flip_horizontally(image: Tensor, target: dict[str, Any]) -> tuple[Tensor, dict[str, Any]]:
    """Mirror an image (3, H, W), its boxes and its masks left to right; not in place."""
    boxes = target["boxes"].clone()
    boxes[:, [0, 2]] = image.shape[-1] - boxes[:, [2, 0]]
    masks: dict[str, Any] = {part: mirrored(target[part]) for part in ("mask", "instances") if part in target}
    return mirrored(image), {**target, "boxes": boxes, **masks}


class BatchStream:
    """Endless batches of ``images_per_step`` images.

    Batching modes:

    - ``source`` draws source images.
    - ``mixed`` draws source and kept pseudo images, a share ``source_share`` of them source images.
    - ``paired`` draws ``pairs`` source images with up to ``partners`` of their own kept pseudo images each, and fills
      the batch as ``mixed`` does, so that a step shows more scenes. Its pseudo rows have ``origins``.
    - ``halves`` draws half of the batch from the source, and one pseudo image of each of these.
    - ``apart`` has the same halves, but draws the pseudo images independently: twice as many scenes per step.

    Images come in random epochs (each image once), and the domains of a pair are drawn at random. All rows of a
    ``pair_id`` share one flip. With several source domains, all modes except ``mixed`` and ``paired`` draw equally many
    images per domain and step, with separate epochs.

    Args:
        source: source training images.
        pseudo: pseudo images; rows with ``kept`` False are never opened. None with ``source`` batching.
        domains: domain names by id, the source (or the sources) first.
        batching: see above.
        images_per_step: rows per batch.
        seed: random seed; batches depend only on it and on the step.
        flip: probability of a horizontal flip.
        adapt: function of (step, part, number of parts) that returns the ``adapt`` of that part's batch; it does not
            change the other rows.
        pairs: source images of a ``paired`` batch that come with their pseudo images, at most as many as fit.
        partners: pseudo images per pair.
        source_share: share of source images that ``mixed`` draws, exact over the steps. None: every image is equally
            likely, so more pseudo images mean fewer source images.

    Raises:
        DataError: there are no images, or pseudo images of an unknown domain or source image.
        ParameterError: ``batching`` is unknown, or ``images_per_step`` cannot be shared equally among the sources.
    """

    def __init__(self, source: ManifestDataset, pseudo: ManifestDataset | None, domains: list[str],
                 batching: Batching, images_per_step: int, seed: int, flip: float,
                 adapt: Callable[[int, int, int], Batch] | None = None, pairs: int = 1, partners: int = 1,
                 source_share: float | None = None) -> None:
        if batching not in get_args(Batching):
            raise ParameterError(f"unknown batching '{batching}'; use one of {', '.join(get_args(Batching))}")
        if not len(source):
            raise DataError("there is no source training image; check the training split and the data root")
        self.source, self.pseudo, self.domains = source, pseudo, list(domains)
        self.batching, self.images_per_step, self.seed, self.flip = batching, images_per_step, seed, flip
        self.adapt = adapt
        self.in_pairs = batching in ("paired", "halves")
        self.pairs, self.partners = (images_per_step // 2, 1) if batching == "halves" else (pairs, partners)
        self._domain_ids, self._pair_ids = self._ids()
        self._partners = self._kept_partners()
        self.source_share = source_share if batching in ("mixed", "paired") and any(self._partners) else None
        self._pools = self._pools_by_batching()
        self._epoch_order = lru_cache(maxsize=4 * len(self._pools))(self._shuffle)

    @classmethod
    def from_params(cls, params: TrainingParams, seed: int, source: ManifestDataset, pseudo: ManifestDataset | None,
                    domains: list[str], batching: Batching,
                    adapt: Callable[[int, int, int], Batch] | None = None) -> Self:
        """Create the stream that the training parameters describe."""
        return cls(source, pseudo, domains, batching, params.images_per_step, seed, params.flip, adapt,
                   params.pairs_per_step, params.pseudo_per_source, params.source_share)

    def batch(self, step: int) -> Batch:
        """Return the batch of one step."""
        return self.parts(step)[0].batch

    def parts(self, step: int, shard: Shard = WHOLE) -> list[Part]:
        """Return this process's parts of a step; images of other parts are not opened."""
        rng = np.random.default_rng([self.seed, 1, step])
        items = self._items(step, rng)
        pairs = [self._pair_ids[kind][index] for kind, index in items]
        flipped = {pair: rng.random() < self.flip for pair in dict.fromkeys(pairs)}
        parts = [Part(number, len(rows) / len(items), self._load([(*items[row], flipped[pairs[row]]) for row in rows]))
                 for number, rows in shard.select(pairs, [kind == 0 for kind, _ in items])]
        if self.adapt is not None:
            for part in parts:
                part.batch.adapt = self.adapt(step, part.number, shard.parts)
        return parts

    def _load(self, rows: list[tuple[int, int, bool]]) -> Batch:
        """Load rows of (data set, index, flip)."""
        images, targets = [], []
        for kind, index, flip in rows:
            image, target = self._dataset(kind)[index]
            image, target = flip_horizontally(image, target) if flip else (image, dict(target))
            images.append(to_float(image))
            targets.append(target)
        return Batch(images, targets, torch.tensor([self._domain_ids[kind][index] for kind, index, _ in rows]),
                     torch.tensor([self._pair_ids[kind][index] for kind, index, _ in rows]),
                     torch.tensor([self._dataset(kind).weights[index] for kind, index, _ in rows]),
                     origins=[self._origin(*row) for row in rows] if self.batching == "paired" else None,
                     flipped=[flip for _, _, flip in rows])

    def _origin(self, kind: int, index: int, flip: bool) -> Tensor | None:
        if kind == 0:
            return None
        image, _ = self.source[self._pair_ids[1][index]]
        return to_float(mirrored(image) if flip else image)

    def iterate(self, first: int, last: int, shard: Shard = WHOLE, ahead: int = 3) -> Iterator[tuple[int, list[Part]]]:
        """Yield ``(step, parts)`` for ``first <= step < last``; a thread prefetches up to ``ahead`` steps."""
        ready: queue.Queue[tuple[int, list[Part] | BaseException]] = queue.Queue(maxsize=ahead)
        stop = threading.Event()

        def offer(step: int, value: list[Part] | BaseException) -> None:
            while not stop.is_set():
                with suppress(queue.Full):
                    ready.put((step, value), timeout=0.1)
                    return

        def produce() -> None:
            for step in range(first, last):
                if stop.is_set():
                    return
                try:
                    offer(step, self.parts(step, shard))
                except BaseException as error:  # raised again in the consumer
                    offer(step, error)
                    return

        thread = threading.Thread(target=produce, name="batches", daemon=True)
        thread.start()
        try:
            for _ in range(first, last):
                step, value = ready.get()
                if isinstance(value, BaseException):
                    raise value
                yield step, value
        finally:
            stop.set()
            thread.join()

    def _dataset(self, kind: int) -> ManifestDataset:
        return self.pseudo if kind and self.pseudo is not None else self.source

    def _ids(self) -> tuple[list[list[int]], list[list[int]]]:
        """Return the domain ids and the pair ids of the source rows and of the pseudo rows."""
        position = {name: i for i, name in enumerate(self.source.image_ids)}
        sources = self.domains[:len(set(self.source.domains))]
        if unknown := set(self.source.domains) - set(sources):
            raise DataError(f"source images of the domain {sorted(unknown)}, but domains[0] is '{self.domains[0]}'"
                            f"{f' and the other sources are {sources[1:]}' if sources[1:] else ''}")
        domain_ids: list[list[int]] = [[sources.index(name) for name in self.source.domains], []]
        pair_ids: list[list[int]] = [list(range(len(self.source))), []]
        if self.pseudo is None:
            return domain_ids, pair_ids
        origins = [str(name) for name in self.pseudo.manifest["source_image_id"]]
        for domain, origin in zip(self.pseudo.domains, origins, strict=True):
            if domain not in (made := self.domains[len(sources):]):
                raise DataError(f"the pseudo domain '{domain}' is not one of {made}; run synthesis and "
                                "sampling again with the present parameters")
            if origin not in position:
                raise DataError(f"a pseudo image was made from '{origin}', which is not a source training image; run "
                                "synthesis and sampling again with the present data")
            domain_ids[1].append(self.domains.index(domain))
            pair_ids[1].append(position[origin])
        return domain_ids, pair_ids

    def _pools_by_batching(self) -> list[list[Item]]:
        """Return the pools that batches are drawn from.

        ``source``: one pool per source domain. ``mixed``: all images. ``paired``: all images, then the source images
        with partners. ``halves``: all images, then the source images with partners per domain. ``apart``: pseudo
        images, then the source images per domain. A ``source_share`` appends source images and pseudo images.
        """
        if self.batching == "source":
            return self._by_domain(range(len(self.source)), self.images_per_step, 1)
        everything = [*((0, i) for i in range(len(self.source))),
                      *((1, i) for partners in self._partners for i in partners)]
        anchors = [i for i, partners in enumerate(self._partners) if partners] or range(len(self.source))
        if self.batching == "halves":
            return [everything, *self._by_domain(anchors, self.pairs, 2)]
        sources, made = everything[:len(self.source)], everything[len(self.source):]
        if self.batching == "apart":
            return [made or everything, *self._by_domain(range(len(self.source)), self.images_per_step // 2, 2)]
        pools = [everything, [(0, i) for i in anchors]][: 1 + self.in_pairs]
        return pools if self.source_share is None else [*pools, sources, made]

    def _by_domain(self, rows: Sequence[int], drawn: int, factor: int) -> list[list[Item]]:
        """Group source rows by domain; a step draws ``drawn`` of them in total, each with ``factor`` images."""
        pools: dict[int, list[Item]] = {}
        for i in rows:
            pools.setdefault(self._domain_ids[0][i], []).append((0, i))
        if drawn % len(pools):
            raise ParameterError(f"training.images_per_step {self.images_per_step} cannot be shared equally among "
                                 f"{len(pools)} source domains; take a multiple of {factor * len(pools)}")
        return [pools[domain] for domain in sorted(pools)]

    def _kept_partners(self) -> list[list[int]]:
        """Return the indices of the kept pseudo images of every source image."""
        partners: list[list[int]] = [[] for _ in range(len(self.source))]
        if self.pseudo is None:
            return partners
        kept = self.pseudo.manifest["kept"] if "kept" in self.pseudo.manifest else [True] * len(self.pseudo)
        for index, (pair, keep) in enumerate(zip(self._pair_ids[1], kept, strict=True)):
            if keep:
                partners[pair].append(index)
        return partners

    def _shuffle(self, epoch: int, pool: int) -> np.ndarray:
        return np.random.default_rng([self.seed, 0, epoch, pool]).permutation(len(self._pools[pool]))

    def _draw_equally(self, step: int, count: int, pools: range) -> list[Item]:
        return [item for pool in pools for item in self._draw(step, count // len(pools), pool)]

    def _draw(self, step: int, count: int, pool: int) -> list[Item]:
        """Return the ``count`` items of a pool for this step; every step draws the same number."""
        return self._slice(step * count, (step + 1) * count, pool)

    def _slice(self, first: int, last: int, pool: int) -> list[Item]:
        """Return items ``first <= i < last`` of a pool's endless sequence of shuffled epochs."""
        items = self._pools[pool]
        positions = (divmod(i, len(items)) for i in range(first, last))
        return [items[self._epoch_order(epoch, pool)[offset]] for epoch, offset in positions]

    def _draw_mixed(self, step: int, count: int) -> list[Item]:
        """Return ``count`` source and pseudo images for this step."""
        if self.source_share is None:
            return self._draw(step, count, 0)
        sources, made = len(self._pools) - 2, len(self._pools) - 1
        before, after = (math.floor(done * count * self.source_share) for done in (step, step + 1))
        return self._slice(before, after, sources) + \
            self._slice(step * count - before, (step + 1) * count - after, made)

    def _items(self, step: int, rng: np.random.Generator) -> list[Item]:
        if self.in_pairs:
            return self._paired_items(step, rng)
        if self.batching == "apart":
            sources = self.images_per_step // 2
            return self._draw_equally(step, sources, range(1, len(self._pools))) + \
                self._draw(step, self.images_per_step - sources, 0)
        if self.batching == "mixed":
            return self._draw_mixed(step, self.images_per_step)
        return self._draw_equally(step, self.images_per_step, range(len(self._pools)))

    def _paired_items(self, step: int, rng: np.random.Generator) -> list[Item]:
        """Return pairs of a source image and some of its kept pseudo images; the rest is drawn from all images.

        If the gate left too few pseudo images for a pair, random images fill the batch.
        """
        anchors = range(1, len(self._pools) if self.batching == "halves" else 2)
        size = min(1 + min(len(self.domains) - 1, self.partners), self.images_per_step)
        pairs = min(self.pairs, self.images_per_step // size)
        items: list[Item] = []
        for _, anchor in self._draw_equally(step, pairs, anchors):
            partners = rng.permutation(self._partners[anchor])[: size - 1]
            items += [(0, anchor), *((1, int(index)) for index in partners)]
        items += self._draw_mixed(step, self.images_per_step - pairs * size)
        missing = rng.integers(len(self._pools[0]), size=self.images_per_step - len(items))
        return items + [self._pools[0][index] for index in missing]
