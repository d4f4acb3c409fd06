"""The street itself: its proportions, ground, lanes, pavements, facades and an optional crossing."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass, field

import facades
import numpy as np
from geometry import MeshBuilder, add_object
from materials import Knobs, coloured, facade, ground

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
    """Builds ground and buildings and returns the description that furniture, traffic and cameras need."""
    st = draw_street(rng)
    _ground(rng, st, knobs)
    _buildings(rng, st, knobs)
    return st


def _ground(rng: random.Random, st: Street, knobs: Knobs) -> None:
    asphalt, paving = ground(knobs, "asphalt", 0.9, 0.72), ground(knobs, "paving", 0.9, 0.55)
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
    add_object(marks.mesh("marks", [ground(knobs, "marking", 0.7, 0.4)]), ROAD + 1)
    add_object(side.mesh("sidewalk", [paving]), SIDEWALK + 1)
    add_object(grass.mesh("terrain", [ground(knobs, "grass", 0.95, 0.5)]), TERRAIN + 1)


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
    zebra = (
        [st.crossing - st.crossing_w / 2 - 3.2, st.crossing + st.crossing_w / 2 + 0.4]
        if st.crossing
        else [rng.uniform(20, 130)]
    )
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
            _block(
                blocks,
                rng,
                tuple(sorted((s * CROSS_LEN, s * (CROSS_LEN + 20)))),
                (st.crossing - 40, st.crossing + 40),
                rng.randint(3, 7),
            )
    add_object(blocks.mesh("buildings", [*mats, roof]), BUILDING + 1)


def _block(mb: MeshBuilder, rng: random.Random, x: tuple[float, float], y: tuple[float, float], floors: int) -> None:
    """One building: four textured walls, a parapet and a roof."""
    slot, storey = rng.randrange(7), rng.uniform(2.9, 3.5)
    z = floors * storey
    v1 = floors / facades.FLOORS
    corners = [(x[0], y[0]), (x[1], y[0]), (x[1], y[1]), (x[0], y[1])]
    for k in range(4):
        (xa, ya), (xb, yb) = corners[k], corners[(k + 1) % 4]
        cells = max(1, round(math.hypot(xb - xa, yb - ya) / 3.0))
        u0 = rng.randrange(facades.COLUMNS) / facades.COLUMNS
        u1 = u0 + cells / facades.COLUMNS
        mb.poly(
            [(xa, ya, 0), (xb, yb, 0), (xb, yb, z), (xa, ya, z)],
            slot,
            (1, 1, 1),
            [(u0, 0), (u1, 0), (u1, v1), (u0, v1)],
        )
    g = rng.uniform(0.1, 0.4)
    mb.box(
        (x[0] - 0.25, x[1] + 0.25),
        (y[0] - 0.05, y[1] + 0.05),
        (z, z + rng.uniform(0.3, 0.9)),
        7,
        (g, g * 0.95, g * 0.9),
    )
