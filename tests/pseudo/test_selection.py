import pytest
import torch

from dg_project.core.errors import ParameterError
from dg_project.ops import adain, fourier
from dg_project.pseudo.selection import select


@pytest.fixture
def source():
    return 0.3 + 0.4 * torch.rand(3, 24, 32, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def candidates(source):
    """0: the same image; 1: the same content in another style; 2: another content in a far style."""
    other = 0.3 + 0.4 * torch.rand(3, 24, 32, generator=torch.Generator().manual_seed(1))
    return [source.clone(), 0.5 * source + 0.4, 0.05 * other + 0.9]


@pytest.mark.parametrize("decomposition", ["fourier", "adain"])
def test_select_known_candidates(candidates, source, decomposition):
    chosen = select(candidates, source, decomposition)
    assert chosen.style_index == 2
    assert chosen.content_index in (0, 1)  # both hold the source's content
    assert chosen.index == 1
    assert torch.equal(chosen.image, candidates[1])
    assert select(candidates, source, decomposition, style_weight=1, content_weight=0).index == 2
    assert select(candidates, source, decomposition, style_weight=0, content_weight=1).index in (0, 1)


@pytest.mark.parametrize(("decomposition", "part"), [("fourier", fourier), ("adain", adain)])
def test_select_scores(candidates, source, decomposition, part):
    chosen = select(candidates, source, decomposition, style_weight=0.2, content_weight=3)
    for candidate, score in zip(candidates, chosen.scores, strict=True):
        reference = 0.2 * part.style_distance(candidate, source) + 3 * part.content_similarity(candidate, source)
        assert score == pytest.approx(reference)
    assert chosen.index == max(range(3), key=chosen.scores.__getitem__)


@pytest.mark.parametrize(("decomposition", "part"), [("fourier", fourier), ("adain", adain)])
def test_select_recombine(candidates, source, decomposition, part):
    chosen = select(candidates, source, decomposition, recombine=True)
    wanted = part.recombine(candidates[2], candidates[chosen.content_index]).clamp(0, 1)
    assert torch.allclose(chosen.image, wanted)
    assert part.style_distance(chosen.image, candidates[2]) < part.style_distance(chosen.image, source)
    assert part.content_similarity(chosen.image, source) > 0.8


def test_select_adain_on_features(candidates, source):
    def encode(image):
        return 4 * image.flip(-1)

    def decode(features):
        return features.flip(-1) / 4

    plain = select(candidates, source, "adain", recombine=True)
    coded = select(candidates, source, "adain", recombine=True, encode=encode, decode=decode)
    assert coded.style_distances == pytest.approx([4 * d for d in plain.style_distances], abs=1e-5)
    assert torch.allclose(coded.image, plain.image, atol=1e-5)


def test_select_one_or_no_candidate(source):
    assert select([source], source).index == 0
    with pytest.raises(ParameterError, match="at least one candidate"):
        select([], source)
    with pytest.raises(ParameterError, match="Did you mean 'fourier'"):
        select([source], source, "fuorier")
