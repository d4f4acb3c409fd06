"""Chooses camera poses: candidates are scored by the projected size and visibility of the labelled objects."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass

import bpy
import numpy as np
from mathutils import Vector
from street import ACTIVE, Street
from traffic import Traffic

WIDTH, HEIGHT = 320, 192
RARE = {"bus": 2.0, "truck": 1.6, "motor": 1.8, "bike": 1.8, "rider": 1.2, "person": 1.0, "car": 0.6}


@dataclass(frozen=True)
class Pose:
    """A pinhole camera: position, yaw (0 looks along +y), pitch (positive looks up) and focal length in pixels."""

    x: float
    y: float
    z: float
    yaw: float
    pitch: float
    focal: float

    def axes(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Right, up and forward vectors."""
        cy, sy, cp, sp = math.cos(self.yaw), math.sin(self.yaw), math.cos(self.pitch), math.sin(self.pitch)
        forward = np.array((-sy * cp, cy * cp, sp))
        right = np.array((cy, sy, 0.0))
        return right, np.cross(right, forward), forward

    def project(self, points: np.ndarray) -> np.ndarray:
        """Pixel coordinates (u, v) and depth of world points."""
        right, up, forward = self.axes()
        d = points - np.array((self.x, self.y, self.z))
        depth = np.maximum(d @ forward, 0.05)
        return np.stack(
            [WIDTH / 2 + self.focal * (d @ right) / depth, HEIGHT / 2 - self.focal * (d @ up) / depth, d @ forward], 1
        )


def draw_pose(rng: random.Random, st: Street, corpus: bool) -> Pose:
    """Draws a candidate; the corpus uses other heights, lenses and view points than the benchmark."""
    s = rng.choice((-1, 1))
    where = rng.random()
    if where < (0.7 if corpus else 0.86):
        x = s * (rng.randrange(st.lanes) + 0.5) * st.lane_w + rng.uniform(-0.6, 0.6)
        yaw = rng.gauss(0, 0.07)
    else:
        x = s * (st.half + rng.uniform(0.3, 1.2))
        yaw = rng.uniform(0.0, 0.45)  # turned towards the road
    if st.crossing is not None and rng.random() < 0.35:
        y = st.crossing - s * (st.crossing_w / 2 + rng.uniform(4, 14))
    else:
        y = rng.uniform(*ACTIVE)
    z = rng.uniform(1.9, 4.2) if corpus else rng.uniform(1.25, 2.6)
    fov = math.radians(rng.uniform(44, 58) if corpus else rng.uniform(50, 72))
    pitch = rng.uniform(-0.09, 0.0) - (0.035 * (z - 1.5))
    return Pose(x, y, z, yaw + (0 if s > 0 else math.pi), pitch, WIDTH / 2 / math.tan(fov / 2))


def score(pose: Pose, tr: Traffic, depsgraph: bpy.types.Depsgraph) -> tuple[float, int]:
    """A score (negative when unusable) and the number of well visible objects."""
    total, count = 0.0, 0
    origin = Vector((pose.x, pose.y, pose.z))
    if _walled(pose, origin, depsgraph):
        return -1.0, 0
    for inst in tr.instances:
        centre = inst.points.mean(0)
        if np.hypot(centre[0] - pose.x, centre[1] - pose.y) > 75:
            continue
        uvz = pose.project(inst.points)
        near = uvz[:, 2].min()
        if uvz[:, 2].max() < 0 or (near < 1.0 and np.abs(centre[:2] - (pose.x, pose.y)).max() > 9.0):
            continue
        (u0, v0), (u1, v1) = uvz[:, :2].min(0), uvz[:, :2].max(0)
        w, h = min(u1, WIDTH) - max(u0, 0), min(v1, HEIGHT) - max(v0, 0)
        if w > 0 and h > 0 and (near < 2.5 or w * h > 0.2 * WIDTH * HEIGHT):
            return -1.0, 0
        if w < 5 or h < 8 or w < 0.6 * (u1 - u0):
            continue
        target = Vector(centre)
        hit, loc, *_ = bpy.context.scene.ray_cast(depsgraph, origin, (target - origin).normalized(), distance=200)
        radius = float(np.linalg.norm(inst.points - centre, axis=1).max())
        if hit and (loc - origin).length < (target - origin).length - radius - 0.1:
            continue
        if near < (5.0 if inst.name in ("person", "rider", "bike", "motor") else 6.0):
            return -1.0, 0
        size = max(w, h)
        count += 1
        total += RARE[inst.name] * (1.0 if 14 <= size <= 90 else 0.4) - (3.0 if size > 130 else 0.0)
    return total - 1.2 * max(0, count - 8), count


def _walled(pose: Pose, origin: Vector, depsgraph: bpy.types.Depsgraph) -> bool:
    """Whether something (a trunk, a wall, a truck) fills part of the view right in front of the lens."""
    right, up, forward = pose.axes()
    close = 0
    for u in range(-150, 151, 30):
        for v in (20, 70):
            ray = Vector(forward * pose.focal + right * u + up * v).normalized()
            hit, *_ = bpy.context.scene.ray_cast(depsgraph, origin, ray, distance=6.0)
            close += bool(hit)
    return close > 2


def choose(rng: random.Random, st: Street, tr: Traffic, n: int, corpus: bool) -> list[Pose]:
    """The n best of a few dozen candidates, kept apart from each other."""
    depsgraph = bpy.context.evaluated_depsgraph_get()
    scored: list[tuple[float, int, Pose]] = []
    for _ in range(24 * n):
        p = draw_pose(rng, st, corpus)
        value, count = score(p, tr, depsgraph)
        if value > 0 and count >= 2:
            scored.append((value + rng.uniform(0, 5), count, p))
    scored.sort(key=lambda t: -t[0])
    chosen: list[Pose] = []
    for _, _, p in scored:
        if all(abs(p.y - q.y) > 12 or abs(p.yaw - q.yaw) > 1 for q in chosen):
            chosen.append(p)
        if len(chosen) == n:
            return chosen
    return (chosen + [p for *_, p in scored if p not in chosen])[:n]


def place(pose: Pose) -> None:
    """Moves the scene's camera."""
    cam = bpy.context.scene.camera
    cam.location = (pose.x, pose.y, pose.z)
    cam.rotation_euler = (math.pi / 2 + pose.pitch, 0.0, pose.yaw)
    cam.data.sensor_width = 36.0
    cam.data.lens = 36.0 * pose.focal / WIDTH
