"""Places the labelled objects of a layout: driving, crossing and parked vehicles, riders and pedestrians."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass, field

import bpy
import numpy as np
import people
import vehicles
from geometry import MeshBuilder, add_object
from materials import Knobs, movable_palette
from street import ACTIVE, Street

FIRST_INSTANCE = 30  # pass indices below this are static classes
TRAIN_ID = {"person": 11, "rider": 12, "car": 13, "truck": 14, "bus": 15, "motor": 17, "bike": 18}


@dataclass
class Instance:
    """One labelled object: its pass index, class and world-space vertices."""

    index: int
    name: str
    points: np.ndarray
    lit: bool


@dataclass
class Traffic:
    """All instances of a layout, the ground they take, and poses (x, y, heading, half length) of driving vehicles."""

    palette: list[bpy.types.Material]
    instances: list[Instance] = field(default_factory=list)
    taken: list[tuple[float, float, float, float]] = field(default_factory=list)
    driving: list[tuple[float, float, float, float]] = field(default_factory=list)

    def free(self, x: float, y: float, hx: float, hy: float) -> bool:
        """Whether an axis-aligned rectangle is still empty."""
        return all(abs(x - a) > hx + c or abs(y - b) > hy + d for a, b, c, d in self.taken)

    def add(self, name: str, mb: MeshBuilder, x: float, y: float, z: float, heading: float, lit: bool) -> None:
        """Adds one instance to the scene."""
        index = FIRST_INSTANCE + len(self.instances)
        add_object(mb.mesh(name, self.palette), index, (x, y, z), heading, 1.0, lit)
        v = np.array(mb.verts)
        c, s = math.cos(heading), math.sin(heading)
        pts = np.stack([c * v[:, 0] - s * v[:, 1] + x, s * v[:, 0] + c * v[:, 1] + y, v[:, 2] + z], 1)
        self.instances.append(Instance(index, name, pts, lit))

    def vehicle(self, rng: random.Random, name: str, x: float, y: float, z: float, heading: float, lit: bool) -> bool:
        """Adds a vehicle (a two-wheeler gets a rider when it is lit, i.e. in traffic) if there is room."""
        make = {
            "car": vehicles.car,
            "bus": vehicles.bus,
            "truck": vehicles.truck,
            "bike": people.bike,
            "motor": people.motor,
        }[name]
        mb = make(rng)
        half = max(abs(v[1]) for v in mb.verts)
        width = max(abs(v[0]) for v in mb.verts) + 0.15
        along = abs(math.cos(heading)) > 0.7
        hx, hy = (width, half + 0.6) if along else (half + 0.6, width)
        if not self.free(x, y, hx, hy):
            return False
        self.taken.append((x, y, hx, hy))
        self.add(name, mb, x, y, z, heading, lit)
        if name in ("bike", "motor") and lit:
            self.add("rider", people.rider(rng, name == "motor"), x, y, z, heading, lit)
        if lit and name != "bike":
            self.driving.append((x, y, heading, half))
        return True

    def pedestrian(self, rng: random.Random, x: float, y: float, z: float, heading: float) -> None:
        """Adds a pedestrian if there is room."""
        if self.free(x, y, 0.3, 0.3):
            self.taken.append((x, y, 0.25, 0.25))
            self.add("person", people.person(rng), x, y, z, heading, False)


def build_traffic(rng: random.Random, st: Street, knobs: Knobs) -> Traffic:
    """Fills a street."""
    tr = Traffic(movable_palette(knobs))
    _crossing_traffic(rng, st, tr)
    _lanes(rng, st, tr)
    _parked(rng, st, tr)
    _cyclists(rng, st, tr)
    _pedestrians(rng, st, tr)
    return tr


def _lanes(rng: random.Random, st: Street, tr: Traffic) -> None:
    gap = rng.uniform(11, 24)
    for s in (-1, 1):
        for k in range(st.lanes):
            x = s * (k + 0.5) * st.lane_w
            y = ACTIVE[0] - 25 + rng.uniform(0, 15)
            while y < ACTIVE[1] + 40:
                name = rng.choices(("car", "truck", "bus", "motor", "bike"), (50, 14, 14, 14, 6))[0]
                dx = rng.uniform(-0.3, 0.3) + (rng.uniform(-0.7, 0.7) if name in ("motor", "bike") else 0)
                if not st.on_crossing(y, 4.0) or rng.random() < 0.25:
                    tilt = rng.uniform(-0.05, 0.05)
                    tr.vehicle(rng, name, x + dx, y, 0.0, (0.0 if s > 0 else math.pi) + tilt, True)
                y += 5.0 + rng.expovariate(1.0) * gap


def _parked(rng: random.Random, st: Street, tr: Traffic) -> None:
    if st.parking:
        fill = rng.uniform(0.3, 0.8)
        for s in (-1, 1):
            y = ACTIVE[0] - 25
            while y < ACTIVE[1] + 40:
                if rng.random() < fill and not st.on_crossing(y, 6.0):
                    name = rng.choices(("car", "truck", "motor"), (20, 1, 2))[0]
                    flip = math.pi if (s < 0) != (rng.random() < 0.15) else 0.0
                    tr.vehicle(rng, name, s * (st.half - 1.15), y, 0.0, flip + rng.uniform(-0.04, 0.04), False)
                y += rng.uniform(5.6, 8.0)
    for _ in range(rng.randint(3, 7)):
        s, y = rng.choice((-1, 1)), rng.uniform(*ACTIVE)
        x = s * (st.half + rng.uniform(0.7, st.sidewalk_w - 0.5))
        if not st.on_crossing(y, 3.0):
            for k in range(rng.choice((1, 1, 2, 3))):
                name = rng.choices(("bike", "motor"), (3, 2))[0]
                tr.vehicle(
                    rng, name, x, y + k * 1.1, 0.14, rng.choice((0.0, math.pi / 2, -math.pi / 2, math.pi)), False
                )


def _cyclists(rng: random.Random, st: Street, tr: Traffic) -> None:
    edge = st.lanes * st.lane_w - 0.1 if st.parking else st.half - 0.7
    for _ in range(rng.randint(4, 9)):
        s, y = rng.choice((-1, 1)), rng.uniform(ACTIVE[0], ACTIVE[1] + 20)
        heading = (0.0 if s > 0 else math.pi) + rng.uniform(-0.1, 0.1)
        tr.vehicle(rng, rng.choice(("bike", "bike", "motor")), s * edge + rng.uniform(-0.3, 0.2), y, 0.0, heading, True)


def _crossing_traffic(rng: random.Random, st: Street, tr: Traffic) -> None:
    if st.crossing is None:
        return
    for s in (-1, 1):
        y = st.crossing + s * st.crossing_w / 4
        x = rng.uniform(-38, -20)
        while x < 38:
            if abs(x) > st.half + 1 or rng.random() < 0.6:
                name = rng.choices(("car", "truck", "bus", "motor", "bike"), (46, 12, 14, 14, 14))[0]
                tr.vehicle(
                    rng,
                    name,
                    x,
                    y + rng.uniform(-0.3, 0.3),
                    0.0,
                    -s * math.pi / 2 * -1 + rng.uniform(-0.08, 0.08),
                    True,
                )
            x += 6 + rng.expovariate(1.0) * 9


def _pedestrians(rng: random.Random, st: Street, tr: Traffic) -> None:
    for _ in range(rng.randint(16, 34)):
        s, y = rng.choice((-1, 1)), rng.uniform(ACTIVE[0], ACTIVE[1] + 15)
        if st.on_crossing(y, 0.0):
            continue
        x = s * (st.half + rng.uniform(0.5, max(0.8, st.sidewalk_w - 0.4)))
        for k in range(rng.choices((1, 2, 3), (7, 3, 1))[0]):
            tr.pedestrian(
                rng,
                x + k * rng.uniform(-0.3, 0.3),
                y + k * rng.uniform(0.6, 0.9),
                0.14,
                rng.choice((0, math.pi)) + rng.gauss(0, 0.5),
            )
    if st.crossing is not None:
        for _ in range(rng.randint(2, 6)):
            y = st.crossing + rng.choice((-1, 1)) * (st.crossing_w / 2 + rng.uniform(0.8, 2.8))
            heading = rng.choice((1, -1)) * math.pi / 2 + rng.gauss(0, 0.2)
            tr.pedestrian(rng, rng.uniform(-st.half, st.half), y, 0.0, heading)
    for _ in range(rng.randint(0, 3)):
        heading = rng.choice((1, -1)) * math.pi / 2 + rng.gauss(0, 0.4)
        tr.pedestrian(rng, rng.uniform(-st.half, st.half), rng.uniform(*ACTIVE), 0.0, heading)
