"""Procedural cars, buses and trucks. Local frame: +y is the front, z=0 the ground; colours are linear RGB."""

from __future__ import annotations

import random

from geometry import Colour, MeshBuilder
from materials import GLASS, LAMP_FRONT, LAMP_REAR, LIT_GLASS, MATTE, METAL, PAINT

BLACK: Colour = (0.015, 0.015, 0.016)
TYRE: Colour = (0.02, 0.02, 0.022)
TRIM: Colour = (0.04, 0.04, 0.045)
WHITE: Colour = (0.75, 0.75, 0.73)

CAR_PAINTS: list[Colour] = [
    (0.70, 0.70, 0.70),
    (0.42, 0.43, 0.45),
    (0.10, 0.10, 0.11),
    (0.02, 0.02, 0.025),
    (0.45, 0.03, 0.03),
    (0.04, 0.10, 0.35),
    (0.03, 0.20, 0.28),
    (0.55, 0.45, 0.28),
    (0.06, 0.18, 0.08),
    (0.60, 0.30, 0.03),
    (0.65, 0.55, 0.06),
    (0.25, 0.08, 0.06),
    (0.20, 0.32, 0.50),
    (0.60, 0.62, 0.58),
]

# Length, width, height, belt, nose height; then cowl, roof front, roof rear and tail as fractions of the length.
CAR_STYLES: dict[str, tuple[float, ...]] = {
    "sedan": (4.6, 1.82, 1.46, 0.93, 0.70, 0.20, 0.05, -0.22, -0.36),
    "hatch": (4.0, 1.76, 1.50, 0.95, 0.72, 0.24, 0.08, -0.36, -0.46),
    "suv": (4.6, 1.92, 1.74, 1.08, 0.86, 0.23, 0.10, -0.40, -0.47),
    "van": (4.9, 1.95, 1.98, 1.10, 0.88, 0.36, 0.24, -0.45, -0.49),
    "estate": (4.7, 1.82, 1.50, 0.94, 0.70, 0.20, 0.06, -0.40, -0.48),
    "sport": (4.4, 1.88, 1.26, 0.84, 0.60, 0.14, -0.02, -0.18, -0.38),
    "pickup": (5.2, 1.95, 1.80, 1.10, 0.92, 0.18, 0.06, -0.10, -0.14),
}


def car(rng: random.Random) -> MeshBuilder:
    """A passenger car of a random style, size and paint."""
    style = rng.choices(list(CAR_STYLES), (5, 5, 5, 2, 3, 2, 1))[0]
    length, width, height, belt, nose, cowl, roof_f, roof_r, tail = CAR_STYLES[style]
    k = rng.uniform(0.95, 1.05)
    length, width, height, belt = length * k, width * k, height * rng.uniform(0.96, 1.04), belt * k
    paint = rng.choice(CAR_PAINTS)
    mb = MeshBuilder()
    _car_body(mb, length, width, belt, nose, cowl, tail, paint)
    _greenhouse(mb, length, width, belt, height, (cowl, roof_f, roof_r, tail), paint)
    _car_details(mb, length, width, belt, nose, rng)
    return mb


def _car_body(
    mb: MeshBuilder, length: float, width: float, belt: float, nose: float, cowl: float, tail: float, paint: Colour
) -> None:
    h, c, t = length / 2, cowl * length, tail * length
    profile = [
        (h - 0.10, 0.22),
        (h, 0.38),
        (h - 0.02, nose - 0.10),
        (h - 0.16, nose),
        (c, belt),
        (t, belt),
        (-h + 0.06, belt - 0.06),
        (-h, 0.55),
        (-h + 0.05, 0.25),
    ]
    inset = [(y * 0.97, 0.22 + (z - 0.22) * 0.90) for y, z in profile]
    w = width / 2
    rings = [
        [(x, y, z) for y, z in prof] for x, prof in ((-w, inset), (-w + 0.10, profile), (w - 0.10, profile), (w, inset))
    ]
    mb.loft(rings, PAINT, paint)


def _greenhouse(
    mb: MeshBuilder,
    length: float,
    width: float,
    belt: float,
    height: float,
    ys: tuple[float, float, float, float],
    paint: Colour,
) -> None:
    cowl, front, rear, tail = (y * length for y in ys)
    wb, wt = width / 2 - 0.07, width / 2 - 0.26
    low = [(wb, cowl), (-wb, cowl), (-wb, tail), (wb, tail)]
    top = [(wt, front), (-wt, front), (-wt, rear), (wt, rear)]
    mb.loft(
        [[(x, y, belt - 0.02) for x, y in low], [(x, y, height - 0.04) for x, y in top]], GLASS, (0.02, 0.025, 0.03)
    )
    cap = [(x * 1.03, y + (0.04 if y > (front + rear) / 2 else -0.04)) for x, y in top]
    mb.loft([[(x, y, height - 0.08) for x, y in cap], [(x * 0.9, y * 0.97, height) for x, y in top]], PAINT, paint)
    for (x0, y0), (x1, y1) in zip(low, top, strict=True):
        mb.tube((x0, y0, belt - 0.02), (x1, y1, height - 0.05), 0.055, PAINT, paint, n=4)
    mid_low, mid_top = (cowl + tail) / 2 - 0.1, (front + rear) / 2
    for s in (-1, 1):
        mb.tube((s * wb, mid_low, belt - 0.02), (s * wt, mid_top, height - 0.05), 0.05, PAINT, paint, n=4)


def _car_details(mb: MeshBuilder, length: float, width: float, belt: float, nose: float, rng: random.Random) -> None:
    h, w = length / 2, width / 2
    r = rng.uniform(0.31, 0.36)
    for s in (-1, 1):
        for y in (0.31 * length, -0.30 * length):
            mb.wheel((s * (w - 0.12), y, r + 0.03), r + 0.07, 0.26, MATTE, BLACK)
            mb.wheel((s * (w - 0.11), y, r), r, 0.26, MATTE, TYRE)
            mb.wheel((s * (w - 0.11), y, r), r * 0.62, 0.28, METAL, (0.45, 0.45, 0.47), n=10)
        mb.box(
            _span(s * (w - 0.26), 0.17),
            (h - 0.14, h + 0.01),
            (nose - 0.22, nose - 0.06),
            LAMP_FRONT,
            (0.85, 0.85, 0.82),
        )
        mb.box(
            _span(s * (w - 0.24), 0.17),
            (-h - 0.01, -h + 0.16),
            (belt - 0.30, belt - 0.12),
            LAMP_REAR,
            (0.35, 0.01, 0.01),
        )
        mb.box(_span(s * (w + 0.05), 0.09), (0.16 * length, 0.16 * length + 0.1), (belt, belt + 0.15), MATTE, TRIM)
    mb.box((-0.45, 0.45), (h - 0.08, h + 0.012), (0.42, nose - 0.10), MATTE, TRIM)
    mb.box((-w + 0.1, w - 0.1), (h - 0.12, h + 0.015), (0.24, 0.34), MATTE, TRIM)
    mb.box((-w + 0.1, w - 0.1), (-h - 0.015, -h + 0.12), (0.25, 0.40), MATTE, TRIM)
    mb.box((-0.26, 0.26), (-h - 0.02, -h + 0.05), (0.52, 0.64), MATTE, WHITE)
    mb.box((-0.24, 0.24), (h - 0.05, h + 0.02), (0.36, 0.46), MATTE, WHITE)


def _span(centre: float, half: float) -> tuple[float, float]:
    return (centre - half, centre + half)


BUS_PAINTS: list[Colour] = [
    (0.60, 0.05, 0.04),
    (0.65, 0.50, 0.05),
    (0.05, 0.20, 0.45),
    (0.70, 0.70, 0.68),
    (0.08, 0.32, 0.15),
    (0.60, 0.28, 0.04),
    (0.30, 0.45, 0.55),
]


def bus(rng: random.Random) -> MeshBuilder:
    """A city bus, coach or double decker with rows of windows."""
    mb = MeshBuilder()
    decks = 2 if rng.random() < 0.2 else 1
    length, w, height = rng.uniform(9.0, 12.0), 1.26, (4.1 if decks == 2 else rng.uniform(2.95, 3.3))
    paint, stripe = rng.choice(BUS_PAINTS), rng.choice(BUS_PAINTS)
    h = length / 2

    def ring(y: float, k: float) -> list[tuple[float, float, float]]:
        c = 0.18
        pts = [(-w, 0.35), (w, 0.35), (w, height - c), (w - c, height), (-w + c, height), (-w, height - c)]
        return [(x * k, y, 0.35 + (z - 0.35) * k) for x, z in pts]

    mb.loft([ring(-h, 0.96), ring(-h + 0.2, 1.0), ring(h - 0.25, 1.0), ring(h, 0.95)], PAINT, paint)
    for deck in range(decks):
        z0 = 1.25 + deck * 1.45
        z1 = z0 + (0.95 if decks == 1 else 0.85)
        n = int((length - 0.8) / 1.35)
        step = (length - 0.8) / n
        for s in (-1, 1):
            for k in range(n):
                y0 = -h + 0.4 + k * step
                mb.box(_span(s * w, 0.012), (y0 + 0.06, y0 + step - 0.06), (z0, z1), LIT_GLASS, (0.03, 0.035, 0.04))
        mb.box((-w + 0.12, w - 0.12), (h - 0.1, h + 0.02), (z0 - 0.2, z1 + 0.05), GLASS, (0.03, 0.035, 0.04))
        mb.box((-w + 0.25, w - 0.25), (-h - 0.02, -h + 0.1), (z0, z1), GLASS, (0.03, 0.035, 0.04))
    mb.box((-w - 0.008, w + 0.008), (-h + 0.3, h - 0.3), (0.62, rng.uniform(0.75, 1.0)), PAINT, stripe)
    mb.box((-w + 0.3, w - 0.3), (h - 0.08, h + 0.03), (height - 0.42, height - 0.14), LIT_GLASS, (0.4, 0.22, 0.02))
    for y in (h - 2.6, h - 0.9 if rng.random() < 0.3 else h - 5.2):
        mb.box(_span(w, 0.016), (y - 0.5, y + 0.5), (0.42, 2.25), GLASS, (0.03, 0.035, 0.04))
    _heavy_wheels(mb, w, (h - 2.0, -h + 2.6), 0.48)
    _heavy_lamps(mb, w, h, 0.62, 0.85)
    return mb


def _heavy_wheels(mb: MeshBuilder, w: float, axles: tuple[float, ...], r: float) -> None:
    for s in (-1, 1):
        for y in axles:
            mb.wheel((s * (w - 0.16), y, r + 0.04), r + 0.09, 0.34, MATTE, BLACK)
            mb.wheel((s * (w - 0.15), y, r), r, 0.36, MATTE, TYRE)
            mb.wheel((s * (w - 0.15), y, r), r * 0.55, 0.38, METAL, (0.4, 0.4, 0.42), n=10)


def _heavy_lamps(mb: MeshBuilder, w: float, h: float, z_front: float, z_rear: float) -> None:
    for s in (-1, 1):
        mb.box(
            _span(s * (w - 0.28), 0.18),
            (h - 0.1, h + 0.03),
            (z_front - 0.1, z_front + 0.12),
            LAMP_FRONT,
            (0.85, 0.85, 0.82),
        )
        mb.box(
            _span(s * (w - 0.18), 0.12),
            (-h - 0.03, -h + 0.1),
            (z_rear - 0.15, z_rear + 0.2),
            LAMP_REAR,
            (0.35, 0.01, 0.01),
        )
        mb.box(_span(s * (w + 0.16), 0.06), (h - 0.1, h + 0.05), (1.6, 2.1), MATTE, TRIM)
    mb.box((-w + 0.05, w - 0.05), (h - 0.1, h + 0.04), (0.34, 0.46), MATTE, TRIM)
    mb.box((-w + 0.05, w - 0.05), (-h - 0.04, -h + 0.1), (0.40, 0.52), MATTE, TRIM)
    mb.box((-0.26, 0.26), (-h - 0.05, -h + 0.05), (0.56, 0.68), MATTE, WHITE)


def truck(rng: random.Random) -> MeshBuilder:
    """A truck: a cab in front of a box, a tipper, a tank or a flat bed with a load."""
    mb = MeshBuilder()
    length, w = rng.uniform(6.5, 9.0), rng.uniform(1.1, 1.25)
    h, cab_h, cab_l = length / 2, rng.uniform(2.4, 2.9), rng.uniform(1.7, 2.1)
    paint = rng.choice([*CAR_PAINTS, WHITE, WHITE])
    _cab(mb, w, h, cab_h, cab_l, paint)
    mb.box((-w + 0.2, w - 0.2), (-h, h - 0.3), (0.55, 0.85), MATTE, TRIM)
    rear, front = -h, h - cab_l - 0.2
    kind = rng.choices(("box", "tipper", "tank", "flat"), (5, 2, 1, 2))[0]
    load = rng.choice(
        [WHITE, WHITE, (0.55, 0.55, 0.55), (0.1, 0.2, 0.4), (0.5, 0.06, 0.05), (0.5, 0.4, 0.1), (0.1, 0.3, 0.2)]
    )
    if kind == "box":
        top = rng.uniform(2.8, 3.6)
        mb.box((-w, w), (rear, front), (0.9, top), PAINT, load)
        for z in (0.92, top - 0.05):
            mb.box((-w - 0.02, w + 0.02), (rear - 0.02, front + 0.02), (z, z + 0.08), METAL, (0.3, 0.3, 0.32))
        mb.box((-0.02, 0.02), (rear - 0.02, rear), (0.95, top), MATTE, TRIM)
        logo = rng.choice(CAR_PAINTS)
        mid, half = (rear + front) / 2, (front - rear) * rng.uniform(0.15, 0.35)
        mb.box((-w - 0.012, w + 0.012), (mid - half, mid + half), (1.6, rng.uniform(2.0, 2.5)), PAINT, logo)
    elif kind == "tipper":
        low = [(-w + 0.25, rear + 0.3), (w - 0.25, rear + 0.3), (w - 0.25, front - 0.1), (-w + 0.25, front - 0.1)]
        top = [(-w, rear), (w, rear), (w, front), (-w, front)]
        mb.loft([[(x, y, 0.9) for x, y in low], [(x, y, 2.3) for x, y in top]], PAINT, load)
        mb.ball((0, (rear + front) / 2, 2.2), (w * 0.8, (front - rear) * 0.4, 0.5), MATTE, (0.18, 0.13, 0.08))
    elif kind == "tank":
        mb.tube((0, rear, 1.95), (0, front, 1.95), 1.05, METAL, (0.6, 0.6, 0.62), n=14)
    else:
        mb.box((-w, w), (rear, front), (0.9, 1.05), MATTE, (0.15, 0.09, 0.05))
        for k in range(rng.randint(2, 4)):
            y = rear + 0.5 + k * (front - rear) / 4
            crate = (rng.uniform(0.1, 0.5), rng.uniform(0.1, 0.35), rng.uniform(0.05, 0.3))
            mb.box((-w + 0.2, w - 0.2), (y, y + 0.9), (1.05, rng.uniform(1.5, 2.4)), MATTE, crate)
    _heavy_wheels(mb, w, (h - 1.2, -h + 1.1, -h + 2.2) if length > 7.6 else (h - 1.2, -h + 1.4), 0.46)
    _heavy_lamps(mb, w, h, 0.75, 0.75)
    return mb


def _cab(mb: MeshBuilder, w: float, h: float, cab_h: float, cab_l: float, paint: Colour) -> None:
    profile = [(h - cab_l, 0.5), (h, 0.5), (h, 1.45), (h - 0.22, cab_h), (h - cab_l, cab_h)]
    mb.loft([[(x, y, z) for y, z in profile] for x in (-w + 0.04, w - 0.04)], PAINT, paint)
    glass = (0.03, 0.035, 0.04)
    y0, y1 = h + 0.012, h - 0.17
    mb.poly(
        [(-w + 0.15, y0, 1.5), (w - 0.15, y0, 1.5), (w - 0.22, y1, cab_h - 0.22), (-w + 0.22, y1, cab_h - 0.22)],
        GLASS,
        glass,
    )
    for s in (-1, 1):
        mb.box(_span(s * (w - 0.035), 0.01), (h - cab_l + 0.5, h - 0.3), (1.5, cab_h - 0.3), GLASS, glass)
    mb.box((-w + 0.3, w - 0.3), (h - 0.05, h + 0.02), (0.85, 1.25), MATTE, TRIM)
