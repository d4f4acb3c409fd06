"""A small polygon-mesh builder: boxes, lofts, tubes, balls and rings with one colour per face."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import bpy
import numpy as np

Vec = tuple[float, float, float]
Colour = tuple[float, float, float]


@dataclass
class MeshBuilder:
    """Collects faces (vertices, material slot, colour, optional UV) and turns them into one Blender object."""

    verts: list[Vec] = field(default_factory=list)
    faces: list[tuple[int, ...]] = field(default_factory=list)
    slots: list[int] = field(default_factory=list)
    colours: list[Colour] = field(default_factory=list)
    uvs: list[Sequence[tuple[float, float]] | None] = field(default_factory=list)

    def poly(
        self,
        points: Sequence[Vec],
        slot: int,
        colour: Colour,
        uv: Sequence[tuple[float, float]] | None = None,
    ) -> None:
        """Adds one polygon."""
        base = len(self.verts)
        self.verts.extend(points)
        self._face(tuple(range(base, base + len(points))), slot, colour, uv)

    def box(
        self, x: tuple[float, float], y: tuple[float, float], z: tuple[float, float], slot: int, colour: Colour
    ) -> None:
        """Adds an axis-aligned box."""
        ring = [(x[0], y[0]), (x[1], y[0]), (x[1], y[1]), (x[0], y[1])]
        self.loft([[(a, b, z[0]) for a, b in ring], [(a, b, z[1]) for a, b in ring]], slot, colour)

    def loft(self, rings: Sequence[Sequence[Vec]], slot: int, colour: Colour, caps: bool = True) -> None:
        """Joins consecutive rings of equal length with quads, and closes both ends."""
        base, n = len(self.verts), len(rings[0])
        for ring in rings:
            self.verts.extend(ring)
        for r in range(len(rings) - 1):
            for k in range(n):
                a, b = base + r * n + k, base + r * n + (k + 1) % n
                self._face((a, b, b + n, a + n), slot, colour)
        if caps:
            self._face(tuple(range(base + n - 1, base - 1, -1)), slot, colour)
            last = base + (len(rings) - 1) * n
            self._face(tuple(range(last, last + n)), slot, colour)

    def tube(self, p0: Vec, p1: Vec, r0: float, slot: int, colour: Colour, r1: float | None = None, n: int = 6) -> None:
        """Adds a (tapered) cylinder from p0 to p1."""
        a, b = np.array(p0), np.array(p1)
        axis = (b - a) / (np.linalg.norm(b - a) + 1e-9)
        side = np.cross(axis, (0.0, 0.0, 1.0) if abs(axis[2]) < 0.9 else (1.0, 0.0, 0.0))
        side /= np.linalg.norm(side)
        up = np.cross(axis, side)
        rings = []
        for centre, radius in ((a, r0), (b, r0 if r1 is None else r1)):
            angles = [2 * math.pi * k / n for k in range(n)]
            rings.append([tuple(centre + radius * (math.cos(t) * side + math.sin(t) * up)) for t in angles])
        self.loft(rings, slot, colour)

    def ball(self, centre: Vec, radii: Vec, slot: int, colour: Colour, n: int = 8) -> None:
        """Adds an ellipsoid."""
        rings = []
        for i in range(1, n // 2 + 1):
            t = math.pi * (i - 0.5) / (n // 2) - math.pi / 2
            c, s = math.cos(t), math.sin(t)
            ring = []
            for k in range(n):
                p = 2 * math.pi * k / n
                ring.append(
                    (
                        centre[0] + radii[0] * c * math.cos(p),
                        centre[1] + radii[1] * c * math.sin(p),
                        centre[2] + radii[2] * s,
                    )
                )
            rings.append(ring)
        self.loft(rings, slot, colour)

    def wheel(self, centre: Vec, radius: float, width: float, slot: int, colour: Colour, n: int = 14) -> None:
        """Adds a solid wheel whose axle runs along x."""
        x, y, z = centre
        self.tube((x - width / 2, y, z), (x + width / 2, y, z), radius, slot, colour, n=n)

    def hoop(self, centre: Vec, radius: float, thick: float, slot: int, colour: Colour, n: int = 16) -> None:
        """Adds an open wheel rim (a ring of tubes) whose axle runs along x."""
        x, y, z = centre
        pts = [
            (x, y + radius * math.cos(2 * math.pi * k / n), z + radius * math.sin(2 * math.pi * k / n))
            for k in range(n)
        ]
        for k in range(n):
            self.tube(pts[k], pts[(k + 1) % n], thick, slot, colour, n=4)

    def _face(
        self, idx: tuple[int, ...], slot: int, colour: Colour, uv: Sequence[tuple[float, float]] | None = None
    ) -> None:
        self.faces.append(idx)
        self.slots.append(slot)
        self.colours.append(colour)
        self.uvs.append(uv)

    def mesh(self, name: str, materials: Sequence[bpy.types.Material]) -> bpy.types.Mesh:
        """Builds the Blender mesh with a corner colour attribute `col` and, when given, UVs."""
        me = bpy.data.meshes.new(name)
        me.from_pydata(self.verts, [], self.faces)
        for m in materials:
            me.materials.append(m)
        me.polygons.foreach_set("material_index", np.array(self.slots, np.int32))
        sizes = np.array([len(f) for f in self.faces])
        rgba = np.ones((len(self.faces), 4), np.float32)
        rgba[:, :3] = np.array(self.colours, np.float32)
        attr = me.attributes.new("col", "FLOAT_COLOR", "CORNER")
        attr.data.foreach_set("color", np.repeat(rgba, sizes, axis=0).ravel())
        if any(u is not None for u in self.uvs):
            flat = [p for f, u in zip(self.faces, self.uvs, strict=True) for p in (u or [(0.0, 0.0)] * len(f))]
            me.uv_layers.new(name="uv").data.foreach_set("uv", np.array(flat, np.float32).ravel())
        me.update()
        return me


def add_object(
    mesh: bpy.types.Mesh,
    pass_index: int,
    location: Vec = (0.0, 0.0, 0.0),
    heading: float = 0.0,
    scale: float = 1.0,
    lights_on: bool = False,
) -> bpy.types.Object:
    """Links an object into the scene; the alpha of its colour tells lamps whether they are switched on."""
    ob = bpy.data.objects.new(mesh.name, mesh)
    ob.location = location
    ob.rotation_euler = (0.0, 0.0, heading)
    ob.scale = (scale, scale, scale)
    ob.pass_index = pass_index
    ob.color = (1.0, 1.0, 1.0, 1.0 if lights_on else 0.0)
    bpy.context.scene.collection.objects.link(ob)
    return ob
