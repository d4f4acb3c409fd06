"""Turns a Weather into light: sky gradient, sun, street lamps, headlights and the material knobs."""

from __future__ import annotations

import math
from dataclasses import dataclass

import bpy
import numpy as np
from cameras import Pose
from materials import Knobs
from mathutils import Color
from street import Street
from traffic import Traffic
from weather import Weather


@dataclass
class Lights:
    """Handles of everything that the weather switches."""

    knobs: Knobs
    sun: bpy.types.Object
    lamps: bpy.types.SpotLight
    heads: bpy.types.SpotLight
    ego: bpy.types.Object
    night: bpy.types.Collection
    beams: bpy.types.Collection
    zenith: bpy.types.NodeSocket
    horizon: bpy.types.NodeSocket
    cloud_colour: bpy.types.NodeSocket
    cloud_cover: bpy.types.NodeSocket
    cloud_shift: bpy.types.NodeSocket


def _spot(name: str, angle: float, blend: float) -> bpy.types.SpotLight:
    light = bpy.data.lights.new(name, "SPOT")
    light.spot_size, light.spot_blend = math.radians(angle), blend
    light.shadow_soft_size = 0.12
    return light


def build_lights(st: Street, tr: Traffic, knobs: Knobs) -> Lights:
    """Creates all lights once; `apply` sets their strength."""
    scene = bpy.context.scene
    night, beams = bpy.data.collections.new("night"), bpy.data.collections.new("beams")
    for c in (night, beams):
        scene.collection.children.link(c)
    lamps, heads = _spot("lamp", 150, 0.7), _spot("head", 62, 0.9)
    for x, y, z, _ in st.lamp_heads:
        ob = bpy.data.objects.new("lamp", lamps)
        ob.location = (x, y, z)
        night.objects.link(ob)
    for x, y, heading, half in tr.driving:
        ob = bpy.data.objects.new("head", heads)
        ob.location = (x - math.sin(heading) * (half + 0.15), y + math.cos(heading) * (half + 0.15), 0.75)
        ob.rotation_euler = (math.radians(83), 0, heading)
        beams.objects.link(ob)
    ego = bpy.data.objects.new("ego", heads)
    beams.objects.link(ego)
    sun = bpy.data.objects.new("sun", bpy.data.lights.new("sun", "SUN"))
    scene.collection.objects.link(sun)
    return Lights(knobs, sun, lamps, heads, ego, night, beams, *_sky(scene))


def _sky(scene: bpy.types.Scene) -> tuple[bpy.types.NodeSocket, ...]:
    """A vertical gradient with a band of noise clouds."""
    world = bpy.data.worlds.new("sky")
    scene.world = world
    world.use_nodes = True
    world.cycles.sampling_method = "NONE"
    nt = world.node_tree
    new, link = nt.nodes.new, nt.links.new
    tc, sep = new("ShaderNodeTexCoord"), new("ShaderNodeSeparateXYZ")
    link(tc.outputs["Generated"], sep.inputs[0])
    ramp = new("ShaderNodeMath")
    ramp.operation, ramp.use_clamp = "POWER", True
    ramp.inputs[1].default_value = 0.5
    up = new("ShaderNodeMath")
    up.operation = "MAXIMUM"
    up.inputs[1].default_value = 0.0
    link(sep.outputs[2], up.inputs[0])
    link(up.outputs[0], ramp.inputs[0])
    grad = new("ShaderNodeMix")
    grad.data_type = "RGBA"
    link(ramp.outputs[0], grad.inputs[0])
    mapping, noise = new("ShaderNodeMapping"), new("ShaderNodeTexNoise")
    mapping.inputs["Scale"].default_value = (1.0, 1.0, 3.0)
    noise.inputs["Scale"].default_value, noise.inputs["Detail"].default_value = 2.2, 2.0
    link(tc.outputs["Generated"], mapping.inputs[0])
    link(mapping.outputs[0], noise.inputs["Vector"])
    cover = new("ShaderNodeMath")
    cover.operation, cover.use_clamp = "MULTIPLY_ADD", True
    cover.inputs[1].default_value = 4.0
    link(noise.outputs["Fac"], cover.inputs[0])
    clouds = new("ShaderNodeMix")
    clouds.data_type = "RGBA"
    link(cover.outputs[0], clouds.inputs[0])
    link(grad.outputs[2], clouds.inputs[6])
    link(clouds.outputs[2], nt.nodes["Background"].inputs[0])
    return grad.inputs[7], grad.inputs[6], clouds.inputs[7], cover.inputs[2], mapping.inputs["Location"]


def sky_colours(w: Weather) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Zenith, horizon and cloud radiance for a sun elevation and cloud cover (linear RGB)."""
    keys = [-12.0, -4.0, 2.0, 12.0, 40.0]
    zen = [(0.003, 0.004, 0.010), (0.03, 0.045, 0.11), (0.10, 0.15, 0.30), (0.22, 0.38, 0.70), (0.20, 0.42, 0.90)]
    hor = [(0.010, 0.009, 0.012), (0.13, 0.085, 0.09), (0.60, 0.34, 0.20), (0.85, 0.78, 0.68), (0.80, 0.95, 1.10)]
    cld = [(0.008, 0.007, 0.009), (0.045, 0.045, 0.065), (0.20, 0.19, 0.23), (0.66, 0.67, 0.70), (0.95, 0.97, 1.0)]

    def at(table: list[tuple[float, float, float]]) -> np.ndarray:
        return np.array([np.interp(w.sun, keys, [row[k] for row in table]) for k in range(3)])

    zenith, horizon, cloud = at(zen), at(hor), at(cld)
    grey = cloud * (1.0 - 0.45 * w.rain)
    k = max(0.0, (w.cloud - 0.4) / 0.6)
    return zenith * (1 - k) + grey * k, horizon * (1 - k) + grey * k, cloud * (1 - 0.4 * w.rain)


def _cull(lights: Lights, pose: Pose) -> None:
    """Hides lights that are far from the camera or behind it."""
    _, _, forward = pose.axes()
    for ob in (*lights.night.objects, *lights.beams.objects):
        d = np.array(ob.location) - (pose.x, pose.y, pose.z)
        along = float(d @ forward)
        ob.hide_render = not (-12 < along < 75)


def lamp_colour(w: Weather) -> np.ndarray:
    """Street-lamp colour between white LED and sodium."""
    return np.array((0.95, 1.0, 1.0)) * (1 - w.lamp_warmth) + np.array((1.0, 0.62, 0.25)) * w.lamp_warmth


def apply(lights: Lights, w: Weather, pose: Pose) -> None:
    """Sets the scene to a weather as seen from a camera."""
    zenith, horizon, cloud = sky_colours(w)
    lights.zenith.default_value, lights.horizon.default_value = (*zenith, 1), (*horizon, 1)
    lights.cloud_colour.default_value = (*cloud, 1)
    lights.cloud_cover.default_value = -2.6 + 2.6 * w.cloud
    lights.cloud_shift.default_value = (w.seed % 97, w.seed % 89, 0)
    sun = lights.sun.data
    height = max(0.0, min(1.0, (w.sun + 1) / 25))
    sun.energy = 5.0 * height * (1 - min(1.0, 1.15 * w.cloud)) ** 1.5 * math.exp(-60 * w.fog) if w.sun > 0 else 0.0
    sun.color = Color((1.0, 0.72 + 0.24 * height, 0.45 + 0.45 * height))
    sun.angle = math.radians(0.8 + 12 * w.cloud)
    lights.sun.rotation_euler = (math.radians(90 - max(w.sun, 1)), 0, math.radians(w.azimuth))
    dark = w.darkness
    lit = dark > 0.3
    lights.night.hide_render = not lit
    beams = max(dark, 0.5 if (w.rain or w.fog > 0.02) else 0.0)
    lights.beams.hide_render = beams < 0.3
    lights.lamps.energy, lights.lamps.color = 1600 * min(1, 1.3 * dark), Color(tuple(lamp_colour(w)))
    lights.heads.energy, lights.heads.color = 900 * beams, Color((1.0, 0.93, 0.82))
    lights.ego.location = (pose.x, pose.y, 0.8)
    lights.ego.rotation_euler = (math.radians(85), 0, pose.yaw)
    _cull(lights, pose)
    k = dark**1.5
    lights.knobs.set(
        wet=w.wet,
        snow=w.snow,
        headlamps=14 * beams,
        taillamps=3.5 * beams,
        cabin=0.45 * k,
        bulbs=12 * k * lit,
        windows=0.55 * k,
    )
