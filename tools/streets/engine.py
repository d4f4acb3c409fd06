"""The path tracer's settings, and one render call that returns radiance, depth and instance indices."""

from __future__ import annotations

import contextlib
import io
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import bpy
import numpy as np
from cameras import HEIGHT, WIDTH
from exr import read_exr


def reset(samples: int, threads: int) -> bpy.types.Scene:
    """An empty scene with Cycles on the CPU, the denoiser, a camera and the two label passes."""
    bpy.ops.wm.read_factory_settings(use_empty=True)
    scene = bpy.context.scene
    r, c = scene.render, scene.cycles
    r.engine, r.resolution_x, r.resolution_y, r.resolution_percentage = "CYCLES", WIDTH, HEIGHT, 100
    r.use_persistent_data, r.threads_mode, r.threads = True, "FIXED", threads
    r.film_transparent = False
    c.device, c.samples, c.use_adaptive_sampling, c.seed = "CPU", samples, False, 1
    c.use_denoising, c.denoiser = True, "OPENIMAGEDENOISE"
    c.denoising_input_passes, c.denoising_prefilter, c.denoising_quality = "RGB_ALBEDO_NORMAL", "NONE", "FAST"
    c.max_bounces, c.diffuse_bounces, c.glossy_bounces, c.transmission_bounces = 2, 1, 2, 0
    c.use_light_tree = False  # lights are culled by distance instead: three times faster here
    c.caustics_reflective = c.caustics_refractive = False
    c.sample_clamp_indirect, c.sample_clamp_direct, c.blur_glossy = 3.0, 0.0, 0.5
    c.use_auto_tile = False
    cam = bpy.data.objects.new("camera", bpy.data.cameras.new("camera"))
    cam.data.clip_end = 1000
    scene.collection.objects.link(cam)
    scene.camera = cam
    layer = scene.view_layers[0]
    layer.use_pass_object_index = layer.use_pass_z = True
    return scene


class Tracer:
    """Renders the current scene; passes travel through one small EXR file in a private temporary folder."""

    def __init__(self, scene: bpy.types.Scene) -> None:
        shm = Path("/dev/shm")
        self.folder = Path(tempfile.mkdtemp(prefix="streets_", dir=shm if os.access(shm, os.W_OK) else None))
        self.scene = scene
        scene.use_nodes = False
        settings = scene.render.image_settings
        settings.file_format, settings.color_depth, settings.exr_codec = "OPEN_EXR_MULTILAYER", "32", "NONE"
        scene.render.filepath = str(self.folder / "frame.exr")

    def close(self) -> None:
        """Removes the temporary folder."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def render(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Linear RGB (H, W, 3), depth (H, W) and object index (H, W)."""
        with quiet():
            bpy.ops.render.render(write_still=True)
        passes = read_exr(self.folder / "frame.exr")
        layer = self.scene.view_layers[0].name
        rgb = np.stack([passes[f"{layer}.Combined.{c}"] for c in "RGB"], -1)
        depth, ids = passes[f"{layer}.Depth.Z"], passes[f"{layer}.IndexOB.X"]
        return rgb, np.minimum(depth, 1e4), np.rint(ids).astype(np.int32)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Hides the progress lines that Blender writes to the C-level standard output."""
    saved, null = os.dup(1), os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        os.dup2(saved, 1)
        os.close(saved)
        os.close(null)
