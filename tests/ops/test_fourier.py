import numpy as np
import pytest
import torch

from dg_project.ops import fourier


@pytest.fixture(params=[(8, 10), (9, 7), (64, 96)], ids=str)
def pair(request):
    generator = torch.Generator().manual_seed(0)
    return torch.rand(2, 3, *request.param, generator=generator)


def test_recompose_inverts_decompose(pair):
    image = pair[0]
    assert torch.allclose(fourier.recompose(*fourier.decompose(image), image.shape[-2:]), image, atol=1e-5)


def test_decompose_matches_numpy(pair):
    amplitude, phase = fourier.decompose(pair[0])
    spectrum = np.fft.rfft2(pair[0].double().numpy(), norm="ortho")
    assert np.allclose(amplitude, np.abs(spectrum), atol=1e-4)
    assert np.allclose(torch.polar(amplitude, phase), spectrum, atol=1e-4)


def test_recombine_style_and_content():
    generator = torch.Generator().manual_seed(1)
    style, content = 0.5 + 0.02 * torch.randn(2, 3, 16, 24, generator=generator)
    mixed = fourier.recombine(style, content)
    amplitude, phase = fourier.decompose(mixed)
    assert torch.allclose(amplitude, fourier.decompose(style)[0], atol=1e-4)
    turned = (phase - fourier.decompose(content)[1])[amplitude > 1e-2]
    assert torch.allclose(turned.cos(), torch.ones_like(turned), atol=1e-3)
    assert torch.allclose(fourier.recombine(content, content), content, atol=1e-5)


def test_distance_to_itself_is_zero(pair):
    assert fourier.style_distance(pair[0], pair[0]) == pytest.approx(0, abs=1e-5)
    assert fourier.content_similarity(pair[0], pair[0]) == pytest.approx(1)


def test_contrast_is_style_shift_is_content(pair):
    image, other = pair
    fogged = 0.3 * image + 0.6
    assert fourier.style_distance(fogged, image) > 0.01
    assert fourier.content_similarity(fogged, image) == pytest.approx(1, abs=1e-3)
    shifted = image.roll((2, 3), (-2, -1))
    assert fourier.style_distance(shifted, image) == pytest.approx(0, abs=1e-4)
    assert fourier.content_similarity(shifted, image) < 0.5
    assert abs(fourier.content_similarity(other, image)) < 0.3


def test_content_similarity_phase_correlation():
    a, b = torch.rand(2, 3, 15, 21, generator=torch.Generator().manual_seed(2))
    full = [torch.fft.fft2(x, norm="ortho") for x in (a, b)]
    whitened = [torch.fft.ifft2(x / x.abs(), norm="ortho").real.flatten() for x in full]
    reference = float(torch.nn.functional.cosine_similarity(*whitened, dim=0))
    assert fourier.content_similarity(a, b) == pytest.approx(reference, abs=0.02)


def test_restyle_mixes_the_low_band_alone() -> None:
    style, content = torch.rand(2, 3, 12, 20, generator=torch.Generator().manual_seed(0)) * 0.4 + 0.3
    torch.testing.assert_close(fourier.restyle(content, style, 1.0, 1.0), fourier.recombine(style, content))
    torch.testing.assert_close(fourier.restyle(content, style, 0.0, 1.0), content)
    mean = fourier.restyle(content, style, 1.0, 0.0)  # the lowest frequency is the mean of a channel
    torch.testing.assert_close(mean.mean((1, 2)), style.mean((1, 2)))
    torch.testing.assert_close(mean - mean.mean((1, 2), keepdim=True), content - content.mean((1, 2), keepdim=True))
    half = fourier.decompose(fourier.restyle(content, style, 0.5, 0.3))[0]
    (old, _), (new, _) = fourier.decompose(content), fourier.decompose(style)
    torch.testing.assert_close(half[:, 1, 3], (old + new)[:, 1, 3] / 2)  # 1/12 and 3/20 are within 0.15
    torch.testing.assert_close(half[:, 2, 1], old[:, 2, 1])
    torch.testing.assert_close(half[:, 1, 4], old[:, 1, 4])
