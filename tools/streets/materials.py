"""Materials whose wetness, snow and lamp emission can be switched between renders without rebuilding anything."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field

import bpy
import numpy as np

# Material slots shared by all movable objects (vehicles, people, two-wheelers).
PAINT, MATTE, GLASS, LAMP_FRONT, LAMP_REAR, METAL, LIT_GLASS = range(7)


@dataclass
class Knobs:
    """Named weather values (wet, snow, lamps, windows, ...) and every node socket that listens to each."""

    sockets: dict[str, list[bpy.types.NodeSocket]] = field(default_factory=lambda: defaultdict(list))

    def value(self, nt: bpy.types.NodeTree, name: str) -> bpy.types.NodeSocket:
        """A new value node in `nt` driven by the knob `name`."""
        node = nt.nodes.new("ShaderNodeValue")
        self.sockets[name].append(node.outputs[0])
        return node.outputs[0]

    def set(self, **values: float) -> None:
        """Sets knobs by name."""
        for name, v in values.items():
            for s in self.sockets.get(name, ()):
                s.default_value = v


def _math(nt: bpy.types.NodeTree, op: str, a: object, b: object, clamp: bool = False) -> bpy.types.NodeSocket:
    n = nt.nodes.new("ShaderNodeMath")
    n.operation, n.use_clamp = op, clamp
    for sock, v in zip(n.inputs, (a, b), strict=False):
        if isinstance(v, bpy.types.NodeSocket):
            nt.links.new(v, sock)
        else:
            sock.default_value = v
    return n.outputs[0]


def _mix(nt: bpy.types.NodeTree, factor: object, a: object, b: object, kind: str = "RGBA") -> bpy.types.NodeSocket:
    n = nt.nodes.new("ShaderNodeMix")
    n.data_type = kind
    names = {"RGBA": (0, 6, 7, 2), "FLOAT": (0, 2, 3, 0)}[kind]
    for i, v in zip(names[:3], (factor, a, b), strict=True):
        if isinstance(v, bpy.types.NodeSocket):
            nt.links.new(v, n.inputs[i])
        else:
            n.inputs[i].default_value = v
    return n.outputs[names[3]]


def _grain_image() -> bpy.types.Image:
    """A tileable texture: red grain, green puddles, blue snow patches (one lookup is cheaper than noise nodes)."""
    image = bpy.data.images.get("grain")
    if image is not None:
        return image
    rng, n = np.random.default_rng(7), 512
    freq = np.hypot(*np.meshgrid(np.fft.fftfreq(n) * n, np.fft.fftfreq(n) * n))
    pixels = np.ones((n, n, 4), np.float32)
    for channel, (low, high, slope) in enumerate(((1.0, 200.0, 0.75), (3.0, 14.0, 1.0), (2.0, 40.0, 1.2))):
        spectrum = np.where((freq >= low) & (freq <= high), np.maximum(freq, 1.0) ** -slope, 0.0)
        field = np.fft.ifft2(np.fft.fft2(rng.standard_normal((n, n))) * spectrum).real
        pixels[..., channel] = np.clip(0.5 + 0.17 * field / field.std(), 0, 1)
    image = bpy.data.images.new("grain", n, n)
    image.colorspace_settings.name = "Non-Color"
    image.pixels.foreach_set(pixels.ravel())
    image.update()
    image.pack()
    return image


def _grain(nt: bpy.types.NodeTree, metres: float = 22.0) -> tuple[bpy.types.NodeSocket, ...]:
    """The three channels of the grain texture, repeated every `metres` over the ground."""
    tc, scale = nt.nodes.new("ShaderNodeTexCoord"), nt.nodes.new("ShaderNodeVectorMath")
    scale.operation = "SCALE"
    scale.inputs["Scale"].default_value = 1.0 / metres
    tex, split = nt.nodes.new("ShaderNodeTexImage"), nt.nodes.new("ShaderNodeSeparateColor")
    tex.image = _grain_image()
    nt.links.new(tc.outputs["Object"], scale.inputs[0])
    nt.links.new(scale.outputs[0], tex.inputs[0])
    nt.links.new(tex.outputs["Color"], split.inputs[0])
    return tuple(split.outputs)


def new_material(name: str) -> tuple[bpy.types.Material, bpy.types.NodeTree, bpy.types.Node]:
    """An empty Principled material; emission is never sampled as a light (lamps are)."""
    m = bpy.data.materials.new(name)
    m.use_nodes = True
    m.cycles.emission_sampling = "NONE"
    return m, m.node_tree, m.node_tree.nodes["Principled BSDF"]


def _weathered(
    knobs: Knobs,
    nt: bpy.types.NodeTree,
    bsdf: bpy.types.Node,
    colour: bpy.types.NodeSocket,
    rough: float,
    soak: float,
    grain: tuple[bpy.types.NodeSocket, ...] | None = None,
) -> None:
    """Connects colour and roughness through wetness (darker, glossier) and snow lying on upward faces."""
    wet, snow = knobs.value(nt, "wet"), knobs.value(nt, "snow")
    rough_sock: object = rough
    film = wet
    if grain:
        patch = _math(nt, "MULTIPLY_ADD", grain[1], 2.6)
        patch.node.inputs[2].default_value = -0.85
        film = _math(nt, "MULTIPLY", wet, _mix(nt, _math(nt, "MAXIMUM", patch, 0.0, clamp=True), 0.62, 1.0, "FLOAT"))
    dark = _mix(nt, _math(nt, "MULTIPLY", film, soak), colour, (0.004, 0.004, 0.005, 1.0))
    rough_sock = _mix(nt, film, rough, 0.07 if grain else min(rough, 0.2), "FLOAT")
    geo, sep = nt.nodes.new("ShaderNodeNewGeometry"), nt.nodes.new("ShaderNodeSeparateXYZ")
    nt.links.new(geo.outputs["Normal"], sep.inputs[0])
    up = _math(nt, "MULTIPLY_ADD", sep.outputs[2], 2.0, clamp=True)
    up.node.inputs[2].default_value = -0.8
    cover = _math(nt, "MULTIPLY", up, snow, clamp=True)
    if grain:
        cover = _math(nt, "MULTIPLY", cover, _math(nt, "MULTIPLY", grain[2], 1.7), clamp=True)
    nt.links.new(_mix(nt, cover, dark, (0.72, 0.75, 0.80, 1.0)), bsdf.inputs["Base Color"])
    nt.links.new(_mix(nt, cover, rough_sock, 0.9, "FLOAT"), bsdf.inputs["Roughness"])


def _attribute_colour(nt: bpy.types.NodeTree) -> bpy.types.NodeSocket:
    n = nt.nodes.new("ShaderNodeAttribute")
    n.attribute_name = "col"
    return n.outputs["Color"]


def coloured(
    knobs: Knobs, name: str, rough: float, soak: float, metallic: float = 0.0, coat: float = 0.0
) -> bpy.types.Material:
    """A material that takes its colour from the faces."""
    m, nt, bsdf = new_material(name)
    bsdf.inputs["Metallic"].default_value = metallic
    bsdf.inputs["Coat Weight"].default_value = coat
    _weathered(knobs, nt, bsdf, _attribute_colour(nt), rough, soak)
    return m


def ground(knobs: Knobs, name: str, rough: float, soak: float) -> bpy.types.Material:
    """Face-coloured ground (asphalt, paving, grass) with large patches, fine grain and puddles when wet."""
    m, nt, bsdf = new_material(name)
    grain = _grain(nt)
    shade = _math(nt, "MULTIPLY_ADD", grain[0], 1.0)
    shade.node.inputs[2].default_value = 0.5
    n = nt.nodes.new("ShaderNodeVectorMath")
    n.operation = "SCALE"
    nt.links.new(_attribute_colour(nt), n.inputs[0])
    nt.links.new(shade, n.inputs["Scale"])
    _weathered(knobs, nt, bsdf, n.outputs[0], rough, soak, grain)
    return m


def lamp(
    knobs: Knobs, name: str, colour: tuple[float, float, float], knob: str, per_object: bool = True
) -> bpy.types.Material:
    """A lamp face: emits when the knob is up and (per_object) the object's colour alpha says it is on."""
    m, nt, bsdf = new_material(name)
    nt.links.new(_attribute_colour(nt), bsdf.inputs["Base Color"])
    bsdf.inputs["Roughness"].default_value = 0.15
    bsdf.inputs["Emission Color"].default_value = (*colour, 1.0)
    strength = knobs.value(nt, knob)
    if per_object:
        info = nt.nodes.new("ShaderNodeObjectInfo")
        strength = _math(nt, "MULTIPLY", strength, info.outputs["Alpha"])
    nt.links.new(strength, bsdf.inputs["Emission Strength"])
    return m


def facade(knobs: Knobs, name: str, rgba: np.ndarray, warm: tuple[float, float, float]) -> bpy.types.Material:
    """A wall painted with `rgba` (rows bottom first); alpha marks windows that are lit at night."""
    h, w = rgba.shape[:2]
    image = bpy.data.images.new(name, w, h, alpha=True)
    image.alpha_mode = "CHANNEL_PACKED"
    image.pixels.foreach_set(rgba.astype(np.float32).ravel())
    image.update()
    image.pack()
    m, nt, bsdf = new_material(name)
    tex = nt.nodes.new("ShaderNodeTexImage")
    tex.image = image
    _weathered(knobs, nt, bsdf, tex.outputs["Color"], 0.7, 0.35)
    bsdf.inputs["Emission Color"].default_value = (*warm, 1.0)
    nt.links.new(
        _math(nt, "MULTIPLY", knobs.value(nt, "windows"), tex.outputs["Alpha"]), bsdf.inputs["Emission Strength"]
    )
    return m


def movable_palette(knobs: Knobs) -> list[bpy.types.Material]:
    """The seven materials of vehicles and people, in slot order."""
    return [
        coloured(knobs, "paint", 0.28, 0.05, coat=0.6),
        coloured(knobs, "matte", 0.85, 0.35),
        coloured(knobs, "glass", 0.05, 0.0),
        lamp(knobs, "lamp_front", (1.0, 0.93, 0.80), "headlamps"),
        lamp(knobs, "lamp_rear", (1.0, 0.03, 0.01), "taillamps"),
        coloured(knobs, "metal", 0.35, 0.1, metallic=0.7),
        lamp(knobs, "lit_glass", (1.0, 0.85, 0.60), "cabin"),
    ]
