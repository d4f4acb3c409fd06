import threading
from collections import Counter

import pandas as pd
import pytest
import torch
from streets_fixture import SOURCE

from dg_project.core.errors import DataError, ParameterError
from dg_project.data.batches import Batch, BatchStream, Shard, flip_horizontally, split_rows
from dg_project.data.dataset import ManifestDataset

DOMAINS = [SOURCE, "night", "fog"]


@pytest.fixture
def source(tiny_streets, tiny_manifest):
    return ManifestDataset(tiny_manifest[tiny_manifest["split"] == "train"], tiny_streets)


@pytest.fixture
def pseudo(tiny_pseudo):
    root, manifest = tiny_pseudo
    manifest["weight"] = [1.0, 0.5] * 8
    return ManifestDataset(manifest, root)


def gated(tiny_pseudo, dropped):
    """The pseudo data set without the rows ``dropped``; their files are deleted, so opening one fails."""
    root, manifest = tiny_pseudo
    manifest["kept"] = [index not in dropped for index in range(len(manifest))]
    for index in dropped:
        (root / manifest.loc[index, "image"]).unlink()
    return ManifestDataset(manifest, root)


def same(one: Batch, other: Batch) -> bool:
    return (torch.equal(torch.stack(one.images), torch.stack(other.images))
            and all(torch.equal(a["boxes"], b["boxes"]) for a, b in zip(one.targets, other.targets, strict=True))
            and torch.equal(one.domain_id, other.domain_id) and torch.equal(one.pair_id, other.pair_id)
            and torch.equal(one.weight, other.weight))


@pytest.mark.parametrize("batching", ["source", "mixed", "paired", "halves", "apart"])
def test_batch_depends_on_seed_and_step(source, pseudo, batching):
    def stream(seed):
        return BatchStream(source, pseudo, DOMAINS, batching, 6, seed, 0.5)

    forward = [stream(3).batch(step) for step in range(8)]
    resumed = stream(3)
    for step in (5, 2, 7, 0):
        assert same(resumed.batch(step), forward[step])
    assert not all(same(stream(4).batch(step), forward[step]) for step in range(8))
    assert not same(forward[0], forward[1])
    for batch in forward:
        assert len(batch) == 6
        assert all(image.dtype == torch.float32 and image.min() >= 0 and image.max() <= 1 for image in batch.images)
        assert batch.domain_id.dtype == batch.pair_id.dtype == torch.int64
        assert batch.weight.dtype == torch.float32


def test_source_epochs(source):
    stream = BatchStream(source, None, [SOURCE], "source", 6, 0, 0.5)
    order = [int(pair) for step in range(8) for pair in stream.batch(step).pair_id]
    epochs = [order[i:i + 8] for i in range(0, 48, 8)]
    assert all(sorted(epoch) == list(range(8)) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) > 1


def test_mixed_draws_uniformly(source, tiny_pseudo):
    stream = BatchStream(source, gated(tiny_pseudo, {0, 9}), DOMAINS, "mixed", 11, 0, 0.5)
    seen = Counter((int(d), int(p)) for step in range(4) for b in [stream.batch(step)]
                   for d, p in zip(b.domain_id, b.pair_id, strict=True))
    expected = {(d, p) for d in range(3) for p in range(8)} - {(1, 0), (2, 1)}
    assert set(seen) == expected
    assert set(seen.values()) == {2}


@pytest.mark.parametrize(("share", "sources"), [(0.5, 11), (0.25, 5), (None, 8)])
@pytest.mark.parametrize("batching", ["mixed", "paired"])
def test_source_share_is_exact(source, tiny_pseudo, batching, share,
                                                                               sources):
    stream = BatchStream(source, gated(tiny_pseudo, {0, 9}), DOMAINS, batching, 11, 0, 0.5, pairs=0, source_share=share)
    drawn = [Counter((int(d), int(p)) for d, p in zip(b.domain_id, b.pair_id, strict=True))
             for b in map(stream.batch, range(2))]
    assert sum(count for batch in drawn for (domain, _), count in batch.items() if domain == 0) == sources
    assert share is None or {sum(batch[0, p] for p in range(8)) for batch in drawn} == {sources // 2, -(-sources // 2)}
    made = [count for key, count in (drawn[0] + drawn[1]).items() if key[0]]
    assert max(made) - min(made) <= 1, "every pseudo image is drawn before one is drawn again"


def test_source_share_without_pseudo(source, tiny_pseudo):
    none = gated(tiny_pseudo, set(range(16)))
    stream, plain = (BatchStream(source, none, DOMAINS, "mixed", 5, 0, 0.5, source_share=share)
                     for share in (0.5, None))
    for step in range(4):
        assert torch.equal(stream.batch(step).pair_id, plain.batch(step).pair_id)
        assert not stream.batch(step).domain_id.any()


@pytest.mark.parametrize("batching", ["mixed", "paired", "halves", "apart"])
def test_pair_shares_boxes_and_flip(source, pseudo, batching):
    stream = BatchStream(source, pseudo, DOMAINS, batching, 12, 0, 0.5)
    flips = set()
    for step in range(6):
        batch = stream.batch(step)
        for pair in batch.pair_id.unique():
            rows = batch.rows(batch.pair_id == pair)
            image, target = source[int(pair)]
            for boxes in rows.targets:
                assert torch.equal(boxes["boxes"], rows.targets[0]["boxes"])
            mirrored = flip_horizontally(image, target)[1]["boxes"]
            flipped = torch.equal(rows.targets[0]["boxes"], mirrored)
            assert flipped or torch.equal(rows.targets[0]["boxes"], target["boxes"])
            flips.add(flipped)
            for shown, domain in zip(rows.images, rows.domain_id, strict=True):
                if domain == 0:
                    wanted = image.flip(-1) if flipped else image
                    assert torch.allclose(shown, wanted / 255)
    assert flips == {True, False}


def test_pair_members(source, pseudo):
    stream = BatchStream(source, pseudo, DOMAINS, "paired", 6, 0, 0.5, pairs=2, partners=2)
    for step in range(4):
        batch = stream.batch(step)
        assert Counter(batch.domain_id.tolist()) == {0: 2, 1: 2, 2: 2}
        for pair in batch.pair_id.unique():
            rows = batch.rows(batch.pair_id == pair)
            assert sorted(rows.domain_id.tolist()) == [0, 1, 2]
            assert {target["image_id"] for target in rows.targets} == {source.image_ids[int(pair)]}
    weights = {(int(d), int(p)): float(w) for step in range(8) for b in [stream.batch(step)]
               for d, p, w in zip(b.domain_id, b.pair_id, b.weight, strict=True)}
    assert weights[(1, 0)] == 1.0
    assert weights[(1, 1)] == 0.5


@pytest.mark.parametrize(("images", "partners"), [(1, 1), (2, 1), (2, 5), (3, 2), (4, 1), (6, 1), (7, 2)])
def test_paired_batch_size(source, pseudo, images, partners):
    stream = BatchStream(source, pseudo, DOMAINS, "paired", images, 0, 0.0, pairs=1, partners=partners)
    for step in range(5):
        batch = stream.batch(step)
        assert len(batch) == images
        size = min(1 + min(partners, 2), images)
        assert len(set(batch.pair_id[:size].tolist())) == 1
        assert batch.domain_id[:size].tolist()[0] == 0
        assert len(set(batch.domain_id[:size].tolist())) == size


def test_paired_origins(source, pseudo):
    stream = BatchStream(source, pseudo, DOMAINS, "paired", 6, 0, 0.5, pairs=1)
    alone = BatchStream(source, None, DOMAINS[:1], "source", 1, 0, 0.0)
    for step in range(4):
        batch = stream.batch(step)
        assert batch.origins is not None
        for row, origin in enumerate(batch.origins):
            if batch.domain_id[row] == 0:
                assert origin is None
                continue
            made_from = source[int(batch.pair_id[row])][0] / 255
            assert any(torch.equal(origin, view) for view in (made_from, made_from.flip(-1)))
            partner = (batch.pair_id == batch.pair_id[row]) & (batch.domain_id == 0)
            if partner.any():
                assert torch.equal(origin, batch.images[int(partner.int().argmax())])
        some = batch.rows(torch.tensor([5, 0])).origins
        assert [image is None for image in some] == [batch.origins[5] is None, batch.origins[0] is None]
    assert alone.batch(0).origins is None
    assert batch.joined(alone.batch(0)).origins[-1] is None
    assert len(batch.joined(alone.batch(0)).origins) == 7


def test_paired_remainder_epochs(source, pseudo):
    stream = BatchStream(source, pseudo, DOMAINS, "paired", 6, 0, 0.0)
    kept = int(pseudo.manifest["kept"].sum())
    steps = (len(source) + kept) // 4
    drawn = Counter(pair for step in range(steps) for pair in
                    zip(*(ids[2:].tolist() for ids in (stream.batch(step).pair_id, stream.batch(step).domain_id)),
                        strict=True))
    assert max(drawn.values()) == 1
    assert len(drawn) == 4 * steps


def test_pair_domains_rotate(source, pseudo):
    stream = BatchStream(source, pseudo, DOMAINS, "paired", 2, 0, 0.0)
    drawn = Counter(stream.batch(step).domain_id.tolist()[1] for step in range(60))
    assert min(drawn[1], drawn[2]) > 15


def test_dropped_images_never_opened(source, tiny_pseudo):
    # image 0 lost both pseudo images, image 1 lost its night
    stream = BatchStream(source, gated(tiny_pseudo, {0, 8, 1}), DOMAINS, "paired", 6, 0, 0.5, partners=2)
    groups = Counter()
    for step in range(24):
        batch = stream.batch(step)
        assert len(batch) == 6
        for pair in batch.pair_id.unique().tolist():
            groups[pair, tuple(sorted(batch.rows(batch.pair_id == pair).domain_id.tolist()))] += 1
    assert groups[0, (0,)] > 0
    assert groups[1, (0, 2)] > 0
    assert not any(len(domains) > 1 for pair, domains in groups if pair == 0)


def test_paired_without_kept_images(source, tiny_pseudo):
    stream = BatchStream(source, gated(tiny_pseudo, set(range(16))), DOMAINS, "paired", 6, 0, 0.5)
    assert stream.batch(0).domain_id.tolist() == [0] * 6


def test_iterate_prefetches_same_batches(source, pseudo):
    stream = BatchStream(source, pseudo, DOMAINS, "paired", 6, 0, 0.5)
    for step, (part,) in stream.iterate(2, 6):
        assert same(part.batch, stream.batch(step))
    endless = stream.iterate(0, 10**9)
    assert [next(endless)[0] for _ in range(3)] == [0, 1, 2]
    endless.close()
    assert not any(thread.name == "batches" for thread in threading.enumerate())


def test_parts_split_batch_by_pair(source, pseudo):
    stream = BatchStream(source, pseudo, DOMAINS, "paired", 9, 0, 0.5, pairs=3, partners=2)
    whole, parts = stream.batch(3), stream.parts(3, Shard(2))
    assert [(part.number, round(9 * part.share)) for part in parts] == [(0, 6), (1, 3)]
    for part in parts:
        assert same(part.batch, whole.rows(torch.isin(whole.pair_id, part.batch.pair_id)))
    for process in (0, 1):
        own, = stream.parts(3, Shard(2, process, 2))
        assert same(own.batch, parts[process].batch)
    assert len(stream.parts(3, Shard(5))) == 3, "three pairs fill three parts"
    assert split_rows([7, 8, 7], [True, False, False], 1) == [[0, 1, 2]], "the whole batch keeps its order"


def test_parts_get_source_images():
    pairs, source = [4, 4, 5, 6, 7, 8], [True, False, False, False, False, True]
    assert split_rows(pairs, source, 2) == [[0, 1, 3], [2, 4, 5]]


def test_halves_members(source, pseudo):
    stream = BatchStream(source, pseudo, DOMAINS, "halves", 6, 0, 0.5)
    for step in range(8):
        batch = stream.batch(step)
        real, made = batch.pair_id[batch.domain_id == 0], batch.pair_id[batch.domain_id > 0]
        assert sorted(real.tolist()) == sorted(made.tolist())
        assert len(real) == 3


def test_apart_epochs(source, tiny_pseudo):
    stream = BatchStream(source, gated(tiny_pseudo, {0, 9}), DOMAINS, "apart", 7, 0, 0.5)
    batches = [stream.batch(step) for step in range(56)]
    seen = Counter((int(d), int(p)) for b in batches for d, p in zip(b.domain_id, b.pair_id, strict=True))
    assert all((batch.domain_id == 0).sum() == 3 for batch in batches)
    kept = {(d, p) for d in (1, 2) for p in range(8)} - {(1, 0), (2, 1)}
    assert seen == {**{(0, p): 21 for p in range(8)}, **dict.fromkeys(kept, 16)}
    assert any(len(set(batch.pair_id.tolist())) == 7 for batch in batches), "a step may see a scene once"


def test_iterate_raises_thread_error(source, tiny_streets, tiny_manifest):
    (tiny_streets / tiny_manifest.iloc[0]["image"]).unlink()
    stream = BatchStream(source, None, [SOURCE], "source", 8, 0, 0.5)
    with pytest.raises(DataError, match="train_000"):
        list(stream.iterate(0, 2))


def test_flip_twice_is_identity(source):
    image, target = source[0]
    once = flip_horizontally(image, target)
    twice = flip_horizontally(*once)
    assert torch.equal(twice[0], image)
    assert torch.equal(twice[1]["boxes"], target["boxes"])
    assert (once[1]["boxes"][:, 2] > once[1]["boxes"][:, 0]).all()
    x0, y0, x1, y1 = map(int, once[1]["boxes"][0])
    a0, b0, a1, b1 = map(int, target["boxes"][0])
    assert torch.equal(once[0][:, y0:y1, x0:x1].flip(-1), image[:, b0:b1, a0:a1])


def test_batch_rows_mask_and_indices(source, pseudo):
    batch = BatchStream(source, pseudo, DOMAINS, "paired", 6, 0, 0.5, pairs=2, partners=2).batch(0)
    by_mask = batch.rows(batch.domain_id == 0)
    by_index = batch.rows((batch.domain_id == 0).nonzero().flatten())
    assert len(by_mask) == 2
    assert same(by_mask, by_index)
    assert same(batch.to("cpu"), batch)


def test_batch_stream_errors(source, pseudo, tiny_manifest, tiny_streets):
    with pytest.raises(DataError, match="pseudo domain 'fog' is not one of"):
        BatchStream(source, pseudo, [SOURCE, "night"], "mixed", 6, 0, 0.5)
    few = ManifestDataset(tiny_manifest.head(3), tiny_streets)
    with pytest.raises(DataError, match="which is not a source training image"):
        BatchStream(few, pseudo, DOMAINS, "paired", 6, 0, 0.5)
    with pytest.raises(DataError, match=r"domains\[0\]"):
        BatchStream(source, pseudo, ["night", "fog"], "paired", 6, 0, 0.5)
    with pytest.raises(ParameterError, match="unknown batching"):
        BatchStream(source, pseudo, DOMAINS, "pairs", 6, 0, 0.5)


def test_several_sources_epochs(tiny_streets, tiny_manifest):
    train = tiny_manifest[tiny_manifest["split"] == "train"]
    parts = [train.head(2).assign(domain="b"), train.head(5).assign(domain="a"), train.tail(3).assign(domain="c")]
    several = ManifestDataset(pd.concat(parts), tiny_streets)
    stream = BatchStream(several, None, ["b", "a", "c"], "source", 6, 0, 0.0)
    seen = [batch for step in range(10) for batch in [stream.batch(step)]]
    for batch in seen:
        assert Counter(batch.domain_id.tolist()) == {0: 2, 1: 2, 2: 2}
        assert [several.domains[pair] for pair in batch.pair_id.tolist()] == ["b", "b", "a", "a", "c", "c"]
    order = [int(p) for batch in seen for d, p in zip(batch.domain_id, batch.pair_id, strict=True) if d == 1]
    assert all(sorted(order[i:i + 5]) == list(range(2, 7)) for i in range(0, 20, 5))
    with pytest.raises(ParameterError, match="images_per_step 8 cannot be shared equally among 3 source domains"):
        BatchStream(several, None, ["b", "a", "c"], "source", 8, 0, 0.0)
    with pytest.raises(DataError, match=r"source images of the domain \['c'\]"):
        BatchStream(several, None, ["b", "a", "d"], "source", 6, 0, 0.0)


def test_several_sources_halves(pseudo, tiny_streets, tiny_manifest):
    train = tiny_manifest[tiny_manifest["split"] == "train"]
    several = ManifestDataset(train.assign(domain=["a"] * 5 + ["b"] * 3), tiny_streets)
    stream = BatchStream(several, pseudo, ["a", "b", "night", "fog"], "halves", 8, 0, 0.0)
    for step in range(6):
        batch = stream.batch(step)
        sources = batch.domain_id < 2
        assert Counter(batch.domain_id[sources].tolist()) == {0: 2, 1: 2}
        assert sorted(batch.pair_id[sources].tolist()) == sorted(batch.pair_id[~sources].tolist())
    with pytest.raises(ParameterError, match="among 2 source domains; take a multiple of 4"):
        BatchStream(several, pseudo, ["a", "b", "night", "fog"], "halves", 6, 0, 0.0)
