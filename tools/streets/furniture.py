"""What stands along a street: trees, lamp posts, traffic lights, signs, fences and hedges."""

from __future__ import annotations

import random

import bpy
import numpy as np
from geometry import MeshBuilder, add_object
from materials import Knobs, coloured, lamp
from street import ACTIVE, FENCE, LIGHT, POLE, SIGN, VEGETATION, Y0, Y1, Street


def build_furniture(rng: random.Random, st: Street, knobs: Knobs) -> None:
    """Adds trees and posts; the lamp heads are noted in the street's description."""
    _trees(rng, st, knobs)
    _posts(rng, st, knobs)


def _tree_mesh(rng: random.Random, mats: list[bpy.types.Material], kind: str) -> bpy.types.Mesh:
    mb = MeshBuilder()
    bark = (0.10, 0.07, 0.045)
    base = rng.choice(
        ((0.05, 0.13, 0.025), (0.08, 0.16, 0.03), (0.12, 0.13, 0.03), (0.20, 0.11, 0.03), (0.04, 0.10, 0.03))
    )
    top = rng.uniform(4.5, 7.5)
    trunk = top * 0.45 if kind == "round" else 0.8
    mb.tube((0, 0, 0), (0, 0, top * 0.75), 0.17, 1, bark, r1=0.07)
    blobs = []
    for _ in range(6 if kind == "round" else 5):
        k = rng.random()
        spread = top * (0.18 if kind == "round" else 0.14 * (1 - k))
        blobs.append(
            (
                rng.gauss(0, spread),
                rng.gauss(0, spread),
                trunk + k * (top - trunk),
                top * rng.uniform(0.12, 0.2) * (1.1 - 0.4 * k),
            )
        )
    for bx, by, bz, r in blobs:
        mb.ball((bx, by, bz), (r * 0.85, r * 0.85, r * 0.75), 0, tuple(c * 0.55 for c in base))
        for _ in range(110):
            d = np.array([rng.gauss(0, 1) for _ in range(3)])
            d /= np.linalg.norm(d) + 1e-6
            c = np.array((bx, by, bz)) + d * r * rng.uniform(0.8, 1.15)
            e1 = np.cross(d, (0.3, 0.5, 0.8)) + d * rng.uniform(-0.7, 0.7)
            e1 *= rng.uniform(0.1, 0.2) / np.linalg.norm(e1)
            e2 = np.cross(d, e1)
            shade = rng.uniform(0.6, 1.5)
            mb.poly([tuple(c - e1), tuple(c - e2), tuple(c + e1), tuple(c + e2)], 0, tuple(v * shade for v in base))
    return mb.mesh("tree", mats)


def _trees(rng: random.Random, st: Street, knobs: Knobs) -> None:
    if rng.random() < 0.12:
        return
    mats = [coloured(knobs, "leaf", 0.8, 0.2), coloured(knobs, "bark", 0.95, 0.4)]
    kind = "round" if rng.random() < 0.75 else "cone"
    meshes = [_tree_mesh(rng, mats, kind) for _ in range(3)]
    step, keep = rng.uniform(8, 18), rng.uniform(0.4, 0.9)
    for s in (-1, 1):
        y = Y0 + rng.uniform(0, step)
        while y < Y1 - 20:
            near_zebra = st.on_crossing(y, 6.0)
            if rng.random() < keep and not near_zebra:
                x = s * (st.half + 0.9 + rng.uniform(-0.1, 0.3))
                add_object(
                    rng.choice(meshes),
                    VEGETATION + 1,
                    (x, y + rng.uniform(-1, 1), 0.1),
                    rng.uniform(0, 6.28),
                    rng.uniform(0.75, 1.2),
                )
            y += step


def _posts(rng: random.Random, st: Street, knobs: Knobs) -> None:
    """Lamp posts, traffic lights, signs, fences or hedges."""
    metal = coloured(knobs, "post", 0.5, 0.2, metallic=0.3)
    bulb = lamp(knobs, "bulb", (1, 1, 1), "bulbs", per_object=False)
    poles, lights, signs, fence = MeshBuilder(), MeshBuilder(), MeshBuilder(), MeshBuilder()
    g = rng.uniform(0.05, 0.3)
    grey, top, arm, step = (g, g, g), rng.uniform(5.5, 8.0), rng.uniform(0.8, 2.2), rng.uniform(20, 32)
    for s in (-1, 1):
        y = Y0 + 40 + (0 if s > 0 else step / 2)
        while y < Y1 - 40:
            if not st.on_crossing(y, 1.0):
                x = s * (st.half + 0.45)
                poles.tube((x, y, 0), (x, y, top), 0.085, 0, grey, r1=0.06)
                poles.tube((x, y, top - 0.1), (x - s * arm, y, top + 0.1), 0.05, 0, grey)
                poles.box(
                    tuple(sorted((x - s * (arm - 0.35), x - s * (arm + 0.35)))),
                    (y - 0.14, y + 0.14),
                    (top + 0.05, top + 0.17),
                    0,
                    grey,
                )
                poles.box(
                    tuple(sorted((x - s * (arm - 0.3), x - s * (arm + 0.3)))),
                    (y - 0.12, y + 0.12),
                    (top, top + 0.05),
                    1,
                    (0.8, 0.8, 0.75),
                )
                st.lamp_heads.append((x - s * arm, y, top - 0.05, s))
            y += step
    if st.crossing is not None and rng.random() < 0.75:
        for s in (-1, 1):
            y = st.crossing - s * (st.crossing_w / 2 + 3.6)
            x = s * (st.half + 0.5)
            poles.tube((x, y, 0), (x, y, 3.2), 0.07, 0, grey)
            lights.box((x - 0.17, x + 0.17), (y - 0.15, y + 0.15), (2.4, 3.4), 0, (0.03, 0.03, 0.03))
            for k, col in enumerate(((0.02, 0.25, 0.06), (0.3, 0.15, 0.01), (0.5, 0.02, 0.01))):
                lights.tube((x, y - s * 0.14, 2.56 + 0.31 * k), (x, y - s * 0.19, 2.56 + 0.31 * k), 0.11, 0, col, n=8)
    for _ in range(rng.randint(3, 8)):
        y, s = rng.uniform(*ACTIVE), rng.choice((-1, 1))
        x = s * (st.half + rng.uniform(0.5, 0.8))
        poles.tube((x, y, 0), (x, y, 2.5), 0.04, 0, (0.4, 0.4, 0.4))
        col = rng.choice(((0.5, 0.03, 0.03), (0.03, 0.12, 0.5), (0.6, 0.6, 0.6), (0.6, 0.45, 0.03)))
        signs.tube((x, y - 0.03, 2.6), (x, y + 0.03, 2.6), 0.36, 0, col, n=rng.choice((3, 4, 8, 12)))
        signs.tube((x, y - 0.04, 2.6), (x, y + 0.04, 2.6), 0.22, 0, (0.6, 0.6, 0.6), n=8)
    if st.setback >= 2 and rng.random() < 0.7:
        hedge = rng.random() < 0.5
        for a, b in st.spans(4.0):
            for s in (-1, 1):
                x = tuple(
                    sorted(
                        (s * (st.half + st.sidewalk_w + 0.05), s * (st.half + st.sidewalk_w + (0.5 if hedge else 0.12)))
                    )
                )
                fence.box(x, (a, b), (0, rng.uniform(0.8, 1.3)), 0, (0.05, 0.11, 0.03) if hedge else (0.3, 0.27, 0.23))
        add_object(fence.mesh("fence", [coloured(knobs, "fence", 0.9, 0.4)]), (VEGETATION if hedge else FENCE) + 1)
    add_object(poles.mesh("poles", [metal, bulb]), POLE + 1)
    for mb, name, idx in ((lights, "lights", LIGHT), (signs, "signs", SIGN)):
        if mb.faces:
            add_object(mb.mesh(name, [metal]), idx + 1)
