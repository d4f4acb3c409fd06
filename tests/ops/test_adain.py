import pytest
import torch

from dg_project.ops import adain


@pytest.fixture
def pair():
    generator = torch.Generator().manual_seed(0)
    return torch.randn(2, 4, 6, 9, generator=generator) * torch.tensor([1.0, 3.0]).view(2, 1, 1, 1) + 2


def test_recombine_statistics(pair):
    style, content = pair
    mixed = adain.recombine(style, content)
    for wanted, got in zip(adain.statistics(style), adain.statistics(mixed), strict=True):
        assert torch.allclose(wanted, got, atol=1e-4)
    assert torch.allclose(adain.normalise(mixed), adain.normalise(content), atol=1e-4)
    assert torch.allclose(adain.recombine(content, content), content, atol=1e-4)


def test_statistics_per_channel(pair):
    mean, deviation = adain.statistics(pair[0])
    for channel in range(4):
        values = pair[0][channel].flatten().tolist()
        average = sum(values) / len(values)
        assert float(mean[channel]) == pytest.approx(average, abs=1e-5)
        assert float(deviation[channel]) == pytest.approx(
            (sum((v - average) ** 2 for v in values) / len(values)) ** 0.5)


def test_distance_and_similarity_values(pair):
    image = pair[0]
    assert adain.style_distance(image + 3, image) == pytest.approx(6, rel=1e-4)  # four channels: sqrt(4 · 3²)
    assert adain.content_similarity(2 * image + 3, image) == pytest.approx(1)
    assert adain.content_similarity(-image, image) == pytest.approx(-1)
    assert abs(adain.content_similarity(pair[1], image)) < 0.4


def test_flat_channel_is_finite():
    flat = torch.full((2, 4, 4), 0.5)
    assert torch.equal(adain.normalise(flat), torch.zeros_like(flat))
    assert torch.isfinite(adain.recombine(flat, torch.rand(2, 4, 4))).all()
