import math

import numpy as np
import pytest
import torch
from streets_fixture import scene, weather

from dg_project.config import GateParams
from dg_project.pseudo import gate as gates
from dg_project.pseudo.gate import box_visibility, gate

LOST = 0.2


def noise(shape, deviation, seed=0):
    return deviation * torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def stored(image):
    """The image after rounding to 8 bits."""
    return (image.clamp(0, 1) * 255).round() / 255


@pytest.fixture(params=range(4))
def street(request):
    image, _, objects = scene(request.param)
    boxes = torch.tensor([box for _, box, _ in objects], dtype=torch.float32)
    return torch.from_numpy(image).permute(2, 0, 1) / 255, boxes


def without(image, boxes):
    """The image with every box painted over by what lies above and below it."""
    painted = image.clone()
    for x0, y0, x1, y1 in boxes.int().tolist():
        ramp = torch.linspace(0, 1, y1 - y0 + 2)[None, :, None]
        top, bottom = image[:, y0 - 2, x0 - 1:x1 + 1], image[:, min(y1 + 1, 63), x0 - 1:x1 + 1]
        fill = torch.lerp(top.mean(1)[:, None, None], bottom.mean(1)[:, None, None], ramp).expand(-1, -1, x1 - x0 + 2)
        rows = slice(y0 - 1, min(y1 + 1, 64))
        columns = slice(max(x0 - 1, 0), min(x1 + 1, 96))
        shape = painted[:, rows, columns].shape
        painted[:, rows, columns] = fill[:, :shape[1], :shape[2]] + noise(shape, 0.01)
    return painted


STILL_SEEN = {
    "itself": lambda x: x,
    "night": lambda x: 0.4 * x**2.2,
    "blue night with noise": lambda x: 0.5 * x**2 * torch.tensor([0.5, 0.7, 1.0])[:, None, None] + noise(x.shape, 0.01),
    "sepia": lambda x: x * torch.tensor([1.0, 0.8, 0.4])[:, None, None],
    "low contrast": lambda x: 0.35 * x + 0.3,
    "light fog": lambda x: 0.3 * x + 0.56 + noise(x.shape, 0.005),
    "blur": lambda x: gates._blur(x, 1.0),
    "overexposed": lambda x: 1.6 * x,
}
NOT_SEEN = {
    "dense fog": lambda x: 0.01 * x + 0.79 + noise(x.shape, 0.008),
    "flat grey": lambda x: torch.full_like(x, 0.5),
    "black": torch.zeros_like,
    "black with noise": lambda x: 0.005 * x + noise(x.shape, 0.01).abs(),
    "noise": lambda x: 0.5 + noise(x.shape, 0.2),
    "faint noise": lambda x: 0.5 + noise(x.shape, 0.01),
    "negative": lambda x: 1 - x,
    "another place": lambda x: x.roll((11, 17), (1, 2)),
}


@pytest.mark.parametrize("change", STILL_SEEN.values(), ids=STILL_SEEN)
def test_visibility_kept_under_light_changes(street, change):
    image, boxes = street
    assert (box_visibility(image, stored(change(image)), boxes) > 2 * LOST).all()


@pytest.mark.parametrize("change", NOT_SEEN.values(), ids=NOT_SEEN)
def test_visibility_lost_in_fog_black_noise(street, change):
    image, boxes = street
    assert (box_visibility(image, stored(change(image)), boxes) < LOST).all()


def test_visibility_of_painted_over_object(street):
    image, boxes = street
    gone = box_visibility(image, stored(without(image, boxes[:1])), boxes)
    assert gone[0] < LOST
    assert (gone[1:] > 2 * LOST).all()


@pytest.mark.parametrize("domain", ["night_clear", "dusk_rainy", "night_rainy", "daytime_foggy"])
def test_visibility_in_fixture_weathers(domain):
    day, _, objects = scene(5)
    pseudo = torch.from_numpy(weather(day, domain)).permute(2, 0, 1) / 255
    boxes = torch.tensor([box for _, box, _ in objects])
    assert (box_visibility(torch.from_numpy(day).permute(2, 0, 1) / 255, pseudo, boxes) > 2 * LOST).all()


def test_visibility_falls_with_fog_density(street):
    image, boxes = street
    scores = torch.stack([box_visibility(image, t * image + (1 - t) * 0.8, boxes) for t in (1, 0.5, 0.2, 0.1, 0.05, 0)])
    assert (scores.diff(dim=0) <= 1e-6).all()


def test_visibility_matches_formula(street):
    image, boxes = street
    pseudo = stored(0.5 * image + noise(image.shape, 0.03))
    ours, theirs = gates.edges(image).double().numpy(), gates.edges(pseudo).double().numpy()
    for box, score in zip(boxes.tolist(), box_visibility(image, pseudo, boxes), strict=True):
        x0, y0, x1, y1 = box
        grow = max(2, 0.1 * min(x1 - x0, y1 - y0))
        rows = slice(max(0, math.floor(y0 - grow)), math.ceil(y1 + grow))
        columns = slice(max(0, math.floor(x0 - grow)), math.ceil(x1 + grow))
        s, p = ours[..., rows, columns], theirs[..., rows, columns]
        strength = (s**2).sum((0, 1))
        n = strength.sum()**2 / (strength**2).sum()
        reference = (s * p).sum() / np.sqrt((s**2).sum() * ((p**2).sum() + n * gates.FLOOR**2))
        assert float(score) == pytest.approx(reference, abs=1e-5)


def test_edges_scale():
    step = torch.full((3, 24, 24), 0.2)
    step[:, :, 12:] = 0.8
    strong = gates.edges(step).square().sum((0, 1)).sqrt()[12].max()
    dark = gates.edges(0.2 * step).square().sum((0, 1)).sqrt()[12].max()
    faint = gates.edges(0.8 + 0.005 * step).square().sum((0, 1)).sqrt()[12].max()
    assert 0.8 < dark <= strong < 2
    assert faint < 0.1


def test_visibility_border_tiny_and_no_boxes():
    image = torch.rand(3, 20, 30, generator=torch.Generator().manual_seed(0))
    boxes = torch.tensor([[0, 0, 30, 20], [28, 18, 30, 20], [5, 5, 6, 6]], dtype=torch.float32)
    assert (box_visibility(image, image, boxes) > 0.8).all()
    assert box_visibility(image, image, torch.zeros(0, 4)).shape == (0,)
    assert box_visibility(image[:, :2, :2], image[:, :2, :2], boxes[2:] - 5).isfinite().all()
    assert float(box_visibility(torch.zeros(3, 20, 30), image, boxes[:1])) == 0


@pytest.mark.parametrize(("scores", "difficult", "expected"), [
    ([0.9, 0.8, 0.7, 0.6, 0.5], [False] * 5, (1.0, True, "")),
    ([0.9, 0.8, 0.7, 0.6, 0.1], [False] * 5, (1.0, True, "")),
    ([0.9, 0.8, 0.7, 0.1, 0.1], [False] * 5, (0.6, True, "3 of 5 boxes still visible")),
    ([0.9, 0.8, 0.1, 0.1, 0.1], [False] * 5, (0.4, True, "2 of 5 boxes still visible")),
    ([0.9, 0.0, 0.1, 0.1, -0.1], [False] * 5, (0.0, False, "1 of 5 boxes still visible")),
    ([0.9, 0.0, 0.1], [False, True, True], (1.0, True, "")),
    ([0.0, 0.1], [True, True], (1.0, True, "")),
    ([], [], (1.0, True, "")),
])
def test_gate_weight_by_visible_share(scores, difficult, expected):
    params = GateParams(min_visibility=0.3, drop_below=0.4, down_weight_below=0.8)
    arguments = torch.tensor(scores), torch.tensor(difficult, dtype=torch.bool)
    assert gate(*arguments, params) == pytest.approx(expected)
    assert gate(*arguments, GateParams(enabled=False)) == (1.0, True, "")
