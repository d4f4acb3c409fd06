"""The static part of a layout: ground, lanes, pavements, facades, trees, lamps, signs, fences and an optional crossing."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass, field

import bpy
import facades
import numpy as np
from geometry import MeshBuilder, add_object
from materials import Knobs, coloured, facade, ground, lamp

Y0, Y1 = -130.0, 290.0  # extent of the street; cameras and traffic live in ACTIVE
ACTIVE = (0.0, 150.0)
CROSS_LEN = 90.0

# Cityscapes train ids; the render pass index of a static object is its train id + 1 (0 is the sky).
ROAD, SIDEWALK, BUILDING, WALL, FENCE, POLE, LIGHT, SIGN, VEGETATION, TERRAIN = range(10)


@dataclass
class Street:
    """Geometry of one street that traffic and cameras need to know."""

    lanes: int  # per direction
    lane_w: float
    parking: bool
    sidewalk_w: float
    setback: float
    crossing: float | None
    crossing_w: float
    lamp_heads: list[tuple[float, float, float, float]] = field(default_factory=list)  # x, y, z, side

    @property
    def half(self) -> float:
        """Half of the road's width, kerb to kerb."""
        return self.lanes * self.lane_w + (2.3 if self.parking else 0.3)

    @property
    def wall_x(self) -> float:
        """Distance of the facades from the middle of the road."""
        return self.half + self.sidewalk_w + self.setback

    def on_crossing(self, y: float, margin: float = 0.0) -> bool:
        """Whether y falls on the crossing street."""
        return self.crossing is not None and abs(y - self.crossing) < self.crossing_w / 2 + margin

    def spans(self, margin: float) -> list[tuple[float, float]]:
        """The y intervals of the street left free by the crossing."""
        if self.crossing is None:
            return [(Y0, Y1)]
        half = self.crossing_w / 2 + margin
        return [(Y0, self.crossing - half), (self.crossing + half, Y1)]


def draw_street(rng: random.Random) -> Street:
    """Draws the proportions of a street."""
    return Street(
        lanes=rng.choice((1, 1, 2)),
        lane_w=rng.uniform(3.1, 3.7),
        parking=rng.random() < 0.65,
        sidewalk_w=rng.uniform(2.2, 4.5),
        setback=rng.choice((0.0, 0.4, rng.uniform(2.0, 6.0))),
        crossing=rng.uniform(35, 115) if rng.random() < 0.6 else None,
        crossing_w=rng.uniform(7.0, 11.0),
    )


def build_street(rng: random.Random, knobs: Knobs) -> Street:
    """Builds the static scene and returns its description."""
    st = draw_street(rng)
    _ground(rng, st, knobs)
    _buildings(rng, st, knobs)
    _trees(rng, st, knobs)
    _furniture(rng, st, knobs)
    return st


def _ground(rng: random.Random, st: Street, knobs: Knobs) -> None:
    asphalt, paving = ground(knobs, "asphalt", 0.9, 0.72, 6.0), ground(knobs, "paving", 0.9, 0.55, 3.0)
    g = rng.uniform(0.045, 0.13)
    col = (g, g * rng.uniform(0.96, 1.02), g * rng.uniform(0.92, 1.06))
    road, side, grass, marks = MeshBuilder(), MeshBuilder(), MeshBuilder(), MeshBuilder()
    h, sw = st.half, st.sidewalk_w
    road.poly([(-h, Y0, 0), (h, Y0, 0), (h, Y1, 0), (-h, Y1, 0)], 0, col)
    if st.crossing is not None:
        c, w = st.crossing, st.crossing_w / 2
        for a, b in ((-CROSS_LEN, -h), (h, CROSS_LEN)):
            road.poly([(a, c - w, 0), (b, c - w, 0), (b, c + w, 0), (a, c + w, 0)], 0, col)
    p = rng.uniform(0.2, 0.42)
    pav = (p, p * rng.uniform(0.93, 1.0), p * rng.uniform(0.82, 1.0))
    for y0, y1 in st.spans(0.0):
        for s in (-1, 1):
            side.box(tuple(sorted((s * h, s * (h + sw)))), (y0, y1), (-0.1, 0.14), 0, pav)
            side.box(tuple(sorted((s * h, s * (h + 0.18)))), (y0, y1), (-0.1, 0.15), 0, (0.35, 0.35, 0.34))
            if st.crossing is not None:
                edge = (y1 - 3, y1) if y1 < st.crossing else (y0, y0 + 3)
                side.box(tuple(sorted((s * (h + sw), s * CROSS_LEN))), edge, (-0.1, 0.14), 0, pav)
    t = rng.choice(((0.06, 0.11, 0.03), (0.10, 0.12, 0.04), (0.16, 0.13, 0.09), (0.22, 0.20, 0.18)))
    grass.poly([(-400, -400, -0.03), (400, -400, -0.03), (400, 600, -0.03), (-400, 600, -0.03)], 0, t)
    _marks(rng, st, marks)
    add_object(road.mesh("road", [asphalt]), ROAD + 1)
    add_object(marks.mesh("marks", [ground(knobs, "marking", 0.7, 0.4, 8.0)]), ROAD + 1)
    add_object(side.mesh("sidewalk", [paving]), SIDEWALK + 1)
    add_object(grass.mesh("terrain", [ground(knobs, "grass", 0.95, 0.5, 2.0)]), TERRAIN + 1)


def _marks(rng: random.Random, st: Street, mb: MeshBuilder) -> None:
    white = (0.55, 0.55, 0.53)
    centre = rng.choice((white, (0.55, 0.36, 0.03)))

    def strip(x0: float, x1: float, y0: float, y1: float, col: tuple[float, float, float]) -> None:
        mb.poly([(x0, y0, 0.008), (x1, y0, 0.008), (x1, y1, 0.008), (x0, y1, 0.008)], 0, col)

    style = rng.choice(("double", "dash", "single"))
    for a, b in st.spans(3.5):
        if style == "double":
            for x in (-0.15, 0.15):
                strip(x - 0.06, x + 0.06, a, b, centre)
        elif style == "single":
            strip(-0.07, 0.07, a, b, centre)
        y = a
        while y < b - 3:
            if style == "dash":
                strip(-0.07, 0.07, y, y + 3, centre)
            for k in range(1, st.lanes):
                for s in (-1, 1):
                    strip(s * k * st.lane_w - 0.07, s * k * st.lane_w + 0.07, y, y + 3, white)
            y += 8
        if st.parking:
            for s in (-1, 1):
                x = s * st.lanes * st.lane_w
                strip(x - 0.06, x + 0.06, a, b, white)
    zebra = [st.crossing - st.crossing_w / 2 - 3.2, st.crossing + st.crossing_w / 2 + 0.4] if st.crossing else [rng.uniform(20, 130)]
    for y in zebra:
        x = -st.half + 0.5
        while x < st.half - 0.5:
            strip(x, x + 0.5, y, y + 2.8, white)
            x += 1.05


def _buildings(rng: random.Random, st: Street, knobs: Knobs) -> None:
    nrng = np.random.default_rng(rng.getrandbits(32))
    warm = [(1.0, 0.72, 0.38), (1.0, 0.85, 0.62), (0.85, 0.93, 1.0)]
    mats = [facade(knobs, f"facade{k}", facades.paint_facade(nrng), rng.choice(warm)) for k in range(7)]
    roof = coloured(knobs, "roof", 0.9, 0.3)
    blocks = MeshBuilder()
    low = rng.random() < 0.35
    for a, b in st.spans(4.0):
        for s in (-1, 1):
            y = a
            while y < b - 4:
                length = min(rng.uniform(9, 24), b - y)
                if rng.random() < (0.93 if st.setback < 2 else 0.8):
                    floors = rng.randint(2, 4) if low else rng.randint(2, 8)
                    x = s * (st.wall_x + rng.choice((0, 0, 0.5, 1.0)))
                    _block(blocks, rng, tuple(sorted((x, x + s * rng.uniform(9, 15)))), (y, y + length), floors)
                y += length + rng.choice((0.0, 0.0, 0.0, rng.uniform(1.5, 6)))
    for y in (Y0 - 30, Y1):
        _block(blocks, rng, (-45, 45), (y, y + 25), rng.randint(3, 8))
    if st.crossing is not None:
        for s in (-1, 1):
            _block(blocks, rng, tuple(sorted((s * CROSS_LEN, s * (CROSS_LEN + 20)))), (st.crossing - 40, st.crossing + 40), rng.randint(3, 7))
    add_object(blocks.mesh("buildings", [*mats, roof]), BUILDING + 1)


def _block(mb: MeshBuilder, rng: random.Random, x: tuple[float, float], y: tuple[float, float], floors: int) -> None:
    """One building: four textured walls, a parapet and a roof."""
    slot, storey, z = rng.randrange(7), rng.uniform(2.9, 3.5), floors * 3.2
    z = floors * storey
    v1 = floors / facades.FLOORS
    corners = [(x[0], y[0]), (x[1], y[0]), (x[1], y[1]), (x[0], y[1])]
    for k in range(4):
        (xa, ya), (xb, yb) = corners[k], corners[(k + 1) % 4]
        cells = max(1, round(math.hypot(xb - xa, yb - ya) / 3.0))
        u0 = rng.randrange(facades.COLUMNS) / facades.COLUMNS
        u1 = u0 + cells / facades.COLUMNS
        mb.poly([(xa, ya, 0), (xb, yb, 0), (xb, yb, z), (xa, ya, z)], slot, (1, 1, 1), [(u0, 0), (u1, 0), (u1, v1), (u0, v1)])
    g = rng.uniform(0.1, 0.4)
    mb.box((x[0] - 0.25, x[1] + 0.25), (y[0] - 0.05, y[1] + 0.05), (z, z + rng.uniform(0.3, 0.9)), 7, (g, g * 0.95, g * 0.9))


def _tree_mesh(rng: random.Random, mats: list[bpy.types.Material], kind: str) -> bpy.types.Mesh:
    mb = MeshBuilder()
    bark = (0.10, 0.07, 0.045)
    base = rng.choice(((0.05, 0.13, 0.025), (0.08, 0.16, 0.03), (0.12, 0.13, 0.03), (0.20, 0.11, 0.03), (0.04, 0.10, 0.03)))
    top = rng.uniform(4.5, 7.5)
    trunk = top * 0.45 if kind == "round" else 0.8
    mb.tube((0, 0, 0), (0, 0, top * 0.75), 0.17, 1, bark, r1=0.07)
    blobs = []
    for _ in range(6 if kind == "round" else 5):
        k = rng.random()
        spread = top * (0.18 if kind == "round" else 0.14 * (1 - k))
        blobs.append((rng.gauss(0, spread), rng.gauss(0, spread), trunk + k * (top - trunk), top * rng.uniform(0.12, 0.2) * (1.1 - 0.4 * k)))
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
                add_object(rng.choice(meshes), VEGETATION + 1, (x, y + rng.uniform(-1, 1), 0.1), rng.uniform(0, 6.28), rng.uniform(0.75, 1.2))
            y += step


def _furniture(rng: random.Random, st: Street, knobs: Knobs) -> None:
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
                poles.box(tuple(sorted((x - s * (arm - 0.35), x - s * (arm + 0.35)))), (y - 0.14, y + 0.14), (top + 0.05, top + 0.17), 0, grey)
                poles.box(tuple(sorted((x - s * (arm - 0.3), x - s * (arm + 0.3)))), (y - 0.12, y + 0.12), (top, top + 0.05), 1, (0.8, 0.8, 0.75))
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
                x = tuple(sorted((s * (st.half + st.sidewalk_w + 0.05), s * (st.half + st.sidewalk_w + (0.5 if hedge else 0.12)))))
                fence.box(x, (a, b), (0, rng.uniform(0.8, 1.3)), 0, (0.05, 0.11, 0.03) if hedge else (0.3, 0.27, 0.23))
        add_object(fence.mesh("fence", [coloured(knobs, "fence", 0.9, 0.4)]), (VEGETATION if hedge else FENCE) + 1)
    add_object(poles.mesh("poles", [metal, bulb]), POLE + 1)
    for mb, name, idx in ((lights, "lights", LIGHT), (signs, "signs", SIGN)):
        if mb.faces:
            add_object(mb.mesh(name, [metal]), idx + 1)
