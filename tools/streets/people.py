"""Procedural pedestrians, riders, bicycles and motorcycles. Local frame as in vehicles.py (+y is forward)."""

from __future__ import annotations

import math
import random

from geometry import Colour, MeshBuilder, Vec
from materials import LAMP_FRONT, LAMP_REAR, MATTE, METAL, PAINT
from vehicles import CAR_PAINTS, TRIM, TYRE

SKIN: list[Colour] = [
    (0.55, 0.33, 0.22),
    (0.42, 0.24, 0.15),
    (0.25, 0.13, 0.08),
    (0.10, 0.055, 0.035),
    (0.62, 0.40, 0.30),
]
CLOTH: list[Colour] = [
    (0.50, 0.05, 0.05),
    (0.05, 0.10, 0.40),
    (0.60, 0.60, 0.58),
    (0.03, 0.03, 0.035),
    (0.08, 0.25, 0.10),
    (0.60, 0.45, 0.05),
    (0.25, 0.25, 0.27),
    (0.35, 0.20, 0.10),
    (0.45, 0.15, 0.30),
    (0.10, 0.35, 0.40),
    (0.60, 0.25, 0.05),
    (0.15, 0.10, 0.30),
]
LEGS: list[Colour] = [
    (0.03, 0.04, 0.10),
    (0.02, 0.02, 0.022),
    (0.20, 0.17, 0.12),
    (0.10, 0.10, 0.11),
    (0.06, 0.09, 0.18),
    (0.35, 0.32, 0.27),
]
HAIR: list[Colour] = [
    (0.02, 0.015, 0.01),
    (0.10, 0.05, 0.02),
    (0.35, 0.22, 0.08),
    (0.30, 0.30, 0.30),
    (0.01, 0.01, 0.012),
]


def _torso(mb: MeshBuilder, hip: Vec, neck: Vec, shoulder: float, colour: Colour) -> None:
    rings = []
    for t, rx, ry in ((0.0, 0.80, 0.13), (0.35, 0.78, 0.125), (0.8, 1.05, 0.14), (1.0, 0.55, 0.09)):
        c = [hip[i] + t * (neck[i] - hip[i]) for i in range(3)]
        rings.append(
            [
                (c[0] + shoulder * rx * math.cos(a), c[1] + ry * math.sin(a), c[2])
                for a in (k * math.pi / 4 for k in range(8))
            ]
        )
    mb.loft(rings, MATTE, colour)


def _limb(mb: MeshBuilder, joints: list[Vec], radii: list[float], colour: Colour) -> None:
    for a, b, r0, r1 in zip(joints, joints[1:], radii, radii[1:], strict=False):
        mb.tube(a, b, r0, MATTE, colour, r1=r1, n=6)


def _head(mb: MeshBuilder, neck: Vec, skin: Colour, top: Colour, helmet: bool) -> None:
    x, y, z = neck
    mb.tube((x, y, z - 0.03), (x, y + 0.01, z + 0.10), 0.055, MATTE, skin)
    mb.ball((x, y + 0.02, z + 0.20), (0.085, 0.10, 0.125), MATTE, skin)
    k = 1.35 if helmet else 1.12
    mb.ball(
        (x, y - (0.0 if helmet else 0.015), z + (0.235 if helmet else 0.245)),
        (0.085 * k, 0.10 * k, 0.105 * k),
        PAINT if helmet else MATTE,
        top,
    )


def person(rng: random.Random) -> MeshBuilder:
    """A walking or standing pedestrian with random clothes, height and bag."""
    mb = MeshBuilder()
    k = rng.uniform(0.92, 1.08) if rng.random() > 0.12 else rng.uniform(0.68, 0.8)
    shirt, legs, skin, hair = rng.choice(CLOTH), rng.choice(LEGS), rng.choice(SKIN), rng.choice(HAIR)
    stride = rng.choice((0.0, rng.uniform(0.15, 0.38)))
    hip, neck, shoulder = (0.0, 0.0, 0.90), (0.0, 0.03, 1.46), 0.22
    _torso(mb, hip, neck, shoulder, shirt)
    for s in (-1, 1):
        knee: Vec = (s * 0.10, s * stride * 0.55 + 0.03, 0.48)
        foot: Vec = (s * 0.10, s * stride, 0.05)
        _limb(mb, [(s * 0.09, 0, 0.92), knee, foot], [0.095, 0.07, 0.05], legs)
        mb.box((s * 0.10 - 0.05, s * 0.10 + 0.05), (foot[1] - 0.08, foot[1] + 0.17), (0, 0.09), MATTE, TRIM)
        elbow: Vec = (s * 0.29, -s * stride * 0.45, 1.12)
        hand: Vec = (s * 0.27, -s * stride * 0.8 + 0.08, 0.86)
        _limb(mb, [(s * 0.21, 0.02, 1.38), elbow, hand], [0.06, 0.05, 0.035], shirt)
        mb.ball(hand, (0.045, 0.045, 0.055), MATTE, skin, n=6)
    if rng.random() < 0.25:
        mb.loft(
            [[(x * 0.30, y * 0.26, z) for x, y in _ring()] for z in (0.45,)]
            + [[(x * 0.19, y * 0.15, 1.0) for x, y in _ring()]],
            MATTE,
            shirt,
        )
    if rng.random() < 0.3:
        mb.box((-0.16, 0.16), (-0.30, -0.12), (1.0, 1.42), MATTE, rng.choice(CLOTH))
    elif rng.random() < 0.2:
        mb.box((0.24, 0.32), (-0.12, 0.16), (0.55, 0.84), MATTE, rng.choice(CLOTH))
    _head(mb, neck, skin, hair, helmet=False)
    mb.verts = [(x * k, y * k, z * k) for x, y, z in mb.verts]
    return mb


def _ring() -> list[tuple[float, float]]:
    return [(math.cos(k * math.pi / 4), math.sin(k * math.pi / 4)) for k in range(8)]


def rider(rng: random.Random, on_motor: bool) -> MeshBuilder:
    """A person seated on a bicycle or a motorcycle (a separate object from the two-wheeler)."""
    mb = MeshBuilder()
    shirt, legs, skin = rng.choice(CLOTH), rng.choice(LEGS), rng.choice(SKIN)
    seat = 0.86 if on_motor else 0.98
    lean = rng.uniform(0.10, 0.25) if on_motor else rng.uniform(0.18, 0.36)
    hip, neck = (0.0, -0.30, seat), (0.0, -0.30 + lean, seat + 0.56)
    _torso(mb, hip, neck, 0.22, shirt)
    for s in (-1, 1):
        pedal = (0.32, 0.30) if on_motor else ((0.16, 0.22) if s > 0 else (0.42, -0.02))
        knee: Vec = (s * (0.24 if on_motor else 0.14), 0.12, seat - 0.10 if on_motor else seat - 0.28 + pedal[0] * 0.3)
        foot: Vec = (s * (0.20 if on_motor else 0.14), pedal[1] - 0.25, pedal[0])
        _limb(mb, [(s * 0.10, -0.28, seat), knee, foot], [0.10, 0.075, 0.05], legs)
        mb.box(
            (foot[0] - 0.05, foot[0] + 0.05),
            (foot[1] - 0.08, foot[1] + 0.16),
            (foot[2] - 0.07, foot[2] + 0.03),
            MATTE,
            TRIM,
        )
        elbow: Vec = (s * 0.30, neck[1] + 0.12, neck[2] - 0.30)
        hand: Vec = (s * 0.27, 0.36, 1.06)
        _limb(mb, [(s * 0.21, neck[1] - 0.02, neck[2] - 0.08), elbow, hand], [0.065, 0.05, 0.04], shirt)
        mb.ball(hand, (0.05, 0.05, 0.05), MATTE, skin, n=6)
    helmet = on_motor or rng.random() < 0.6
    _head(mb, neck, skin, rng.choice(CAR_PAINTS) if helmet else rng.choice(HAIR), helmet)
    if rng.random() < 0.25:
        mb.box(
            (-0.17, 0.17), (neck[1] - 0.34, neck[1] - 0.14), (neck[2] - 0.48, neck[2] - 0.06), MATTE, rng.choice(CLOTH)
        )
    return mb


def bike(rng: random.Random) -> MeshBuilder:
    """A bicycle with open wheels, a diamond frame, bars and a saddle."""
    mb = MeshBuilder()
    col, r, t = rng.choice(CAR_PAINTS), 0.34, 0.032
    rear, front, crank = (0.0, -0.52, r), (0.0, 0.56, r), (0.0, -0.06, 0.30)
    seat, head = (0.0, -0.26, 0.88), (0.0, 0.40, 0.86)
    for c in (rear, front):
        mb.hoop(c, r - 0.03, 0.034, MATTE, TYRE)
        for k in range(4):
            a = k * math.pi / 4
            dy, dz = 0.3 * math.cos(a), 0.3 * math.sin(a)
            mb.tube((0, c[1] - dy, c[2] - dz), (0, c[1] + dy, c[2] + dz), 0.008, METAL, (0.5, 0.5, 0.5), n=3)
    for a, b in ((rear, crank), (rear, seat), (crank, seat), (crank, head), (seat, head), (head, front)):
        mb.tube(a, b, t, PAINT, col, n=5)
    mb.tube(head, (0, 0.36, 1.02), 0.025, METAL, (0.4, 0.4, 0.42), n=5)
    mb.tube((-0.28, 0.36, 1.03), (0.28, 0.36, 1.03), 0.025, MATTE, TRIM, n=5)
    mb.box((-0.08, 0.08), (-0.40, -0.12), (0.88, 0.95), MATTE, TRIM)
    mb.tube((-0.12, -0.06, 0.30), (0.12, -0.06, 0.30), 0.10, METAL, (0.2, 0.2, 0.22), n=8)
    if rng.random() < 0.4:
        mb.box((-0.16, 0.16), (0.46, 0.76), (0.80, 1.02), MATTE, (0.20, 0.13, 0.07))
    if rng.random() < 0.4:
        mb.box((-0.08, 0.08), (-0.80, -0.40), (0.72, 0.76), METAL, (0.2, 0.2, 0.2))
    mb.box((-0.04, 0.04), (-0.62, -0.58), (0.70, 0.78), LAMP_REAR, (0.4, 0.01, 0.01))
    mb.box((-0.04, 0.04), (0.50, 0.54), (0.86, 0.94), LAMP_FRONT, (0.8, 0.8, 0.8))
    return mb


def motor(rng: random.Random) -> MeshBuilder:
    """A motorcycle or a scooter."""
    mb = MeshBuilder()
    col, r = rng.choice(CAR_PAINTS), rng.uniform(0.29, 0.33)
    scooter = rng.random() < 0.4
    for y in (-0.68, 0.70):
        mb.wheel((0, y, r), r, 0.16, MATTE, TYRE)
        mb.wheel((0, y, r), r * 0.55, 0.18, METAL, (0.4, 0.4, 0.42), n=10)
        mb.box((-0.10, 0.10), (y - 0.28, y + 0.28), (2 * r - 0.02, 2 * r + 0.05), PAINT, col)
    if scooter:
        mb.box((-0.16, 0.16), (-0.30, 0.35), (0.24, 0.34), PAINT, col)
        mb.loft(
            [
                [(-0.24, 0.40, 0.3), (0.24, 0.40, 0.3), (0.24, 0.48, 0.3), (-0.24, 0.48, 0.3)],
                [(-0.2, 0.36, 0.98), (0.2, 0.36, 0.98), (0.2, 0.46, 0.98), (-0.2, 0.46, 0.98)],
            ],
            PAINT,
            col,
        )
        mb.loft(
            [
                [(-0.17, -0.90, 0.42), (0.17, -0.90, 0.42), (0.17, -0.15, 0.34), (-0.17, -0.15, 0.34)],
                [(-0.15, -0.92, 0.76), (0.15, -0.92, 0.76), (0.15, -0.12, 0.74), (-0.15, -0.12, 0.74)],
            ],
            PAINT,
            col,
        )
    else:
        mb.box((-0.18, 0.18), (-0.28, 0.34), (0.24, 0.58), METAL, (0.16, 0.16, 0.17))
        mb.ball((0, 0.12, 0.80), (0.18, 0.34, 0.17), PAINT, col)
        mb.loft(
            [
                [(-0.14, -0.90, 0.70), (0.14, -0.90, 0.70), (0.14, -0.1, 0.58), (-0.14, -0.1, 0.58)],
                [(-0.11, -0.95, 0.82), (0.11, -0.95, 0.82), (0.11, -0.1, 0.78), (-0.11, -0.1, 0.78)],
            ],
            PAINT,
            col,
        )
        mb.tube((0.2, -0.1, 0.34), (0.2, -0.85, 0.40), 0.065, METAL, (0.5, 0.5, 0.5))
    mb.box((-0.14, 0.14), (-0.82, -0.08), (0.76, 0.86), MATTE, TRIM)
    for s in (-1, 1):
        mb.tube((s * 0.10, 0.70, r), (s * 0.08, 0.42, 0.98), 0.035, METAL, (0.5, 0.5, 0.52), n=5)
        mb.tube((s * 0.05, 0.42, 1.02), (s * 0.36, 0.34, 1.06), 0.03, MATTE, TRIM, n=5)
        mb.box((s * 0.30 - 0.05, s * 0.30 + 0.05), (0.36, 0.39), (1.08, 1.20), MATTE, TRIM)
    mb.tube((0, 0.46, 0.86), (0, 0.58, 0.86), 0.11, LAMP_FRONT, (0.85, 0.85, 0.82), n=8)
    mb.box((-0.10, 0.10), (-0.98, -0.92), (0.70, 0.80), LAMP_REAR, (0.4, 0.01, 0.01))
    mb.box((-0.10, 0.10), (-1.0, -0.95), (0.50, 0.64), MATTE, (0.7, 0.7, 0.68))
    return mb
