"""The generator: both kinds of pipelines, strength, sizes, batch independence, errors."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler, DPMSolverMultistepScheduler, EulerDiscreteScheduler
from PIL import Image

from dg_project.core.errors import CheckpointError, ParameterError
from dg_project.diffusion.generator import Generator
from dg_project.diffusion.latents import LastSteps


@pytest.fixture(scope="module", params=["tiny_ldm", "tiny_img2img"])
def generator(request: pytest.FixtureRequest) -> Generator:
    return Generator.open(request.getfixturevalue(request.param))


def scene(seed: int, width: int = 40, height: int = 24) -> Image.Image:
    pixels = np.random.default_rng(seed).integers(0, 255, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


def same(a: Image.Image, b: Image.Image) -> bool:
    return np.array_equal(np.asarray(a), np.asarray(b))


def test_batch_size_does_not_change_images(generator: Generator) -> None:
    images, prompts, seeds = [scene(i) for i in range(4)], ["a foggy street", "night", "rain", "dusk"], [5, 6, 7, 8]
    together = generator.generate(images, prompts, seeds, steps=4, strength=0.5)
    for i in range(4):
        alone = generator.generate(images[i : i + 1], prompts[i : i + 1], seeds[i : i + 1], steps=4, strength=0.5)[0]
        assert same(alone, together[i])


def test_seed_prompt_and_source_change_image(generator: Generator) -> None:
    def make(image: Image.Image, prompt: str, seed: int) -> Image.Image:
        return generator.generate([image], [prompt], [seed], steps=4, strength=0.5)[0]

    base = make(scene(0), "a dark street", 0)
    assert same(base, make(scene(0), "a dark street", 0))
    assert not same(base, make(scene(0), "a dark street", 1))
    assert not same(base, make(scene(0), "a foggy street", 0))
    assert not same(base, make(scene(1), "a dark street", 0))


@pytest.mark.parametrize("size", [(40, 24), (41, 27), (9, 10)])
def test_image_size_is_kept(generator: Generator, size: tuple[int, int]) -> None:
    image = scene(3, *size)
    assert generator.generate([image], ["fog"], [0], steps=2)[0].size == size
    tensor = torch.from_numpy(np.asarray(image).copy()).permute(2, 0, 1)
    assert same(*(generator.generate([x], ["fog"], [0], steps=2)[0] for x in (image, tensor)))


def test_strength_zero_and_too_small(generator: Generator) -> None:
    image = scene(0)
    assert same(generator.generate([image], ["fog"], [0], strength=0.0)[0], image)
    with pytest.raises(ParameterError, match=r"raise ldm.steps to 10"):
        generator.generate([image], ["fog"], [0], strength=0.1, steps=4)


@pytest.mark.parametrize("scheduler", [DDIMScheduler, DPMSolverMultistepScheduler, EulerDiscreteScheduler])
def test_strength_runs_only_the_last_steps(tiny_ldm: Path, scheduler: type, monkeypatch: pytest.MonkeyPatch) -> None:
    generator = Generator.open(tiny_ldm, scheduler=scheduler.__name__)
    assert isinstance(generator.pipeline.scheduler, scheduler)
    generator.pipeline.scheduler.set_timesteps(10)
    whole = generator.pipeline.scheduler.timesteps.tolist()
    seen: list[float] = []
    step = generator.pipeline.scheduler.step

    def spy(prediction: torch.Tensor, timestep: torch.Tensor, *args: object, **kwargs: object) -> object:
        seen.append(float(timestep))
        return step(prediction, timestep, *args, **kwargs)

    monkeypatch.setattr(generator.pipeline.scheduler, "step", spy)
    generator.generate([scene(0)], ["fog"], [0], strength=0.3, steps=10)
    assert seen == pytest.approx(whole[-3:])
    seen.clear()
    generator.generate([scene(0)], ["fog"], [0], strength=1.0, steps=10)
    assert seen == pytest.approx(whole)


def test_small_strength_starts_from_source(tiny_ldm: Path) -> None:
    generator = Generator.open(tiny_ldm)
    scheduler, vae, image = generator.pipeline.scheduler, generator.pipeline.vae, scene(0)
    generator.pipeline.scheduler = LastSteps(scheduler, 1)
    generator.pipeline.scheduler.set_timesteps(10)
    got = generator.mode.noised([image], [torch.Generator().manual_seed(3)])
    with torch.no_grad():
        clean = vae.encode(generator.pipeline.image_processor.preprocess([image])).latent_dist.mode()
    alpha = scheduler.alphas_cumprod[scheduler.timesteps[-1]]
    noise = torch.randn(clean.shape, generator=torch.Generator().manual_seed(3))
    torch.testing.assert_close(got, alpha.sqrt() * clean + (1 - alpha).sqrt() * noise)


@pytest.mark.parametrize("strength", [1.0, 0.5])
def test_images_of_one_source_run_together_and_equal_each_alone(tiny_ldm: Path, strength: float) -> None:
    generator = Generator.open(tiny_ldm)
    source, prompts, seeds = scene(0), ["fog", "night", "rain", "fog at night"], [1, 2, 3, 4]
    encoded: list[int] = []
    encode = generator.pipeline.vae.encode
    generator.pipeline.vae.encode = lambda pixels, *args: encoded.append(len(pixels)) or encode(pixels, *args)
    together = generator.generate([source] * 4, prompts, seeds, strength=strength, steps=4)
    assert set(encoded) == {1}, "the source is encoded once, not once per prompt"
    for prompt, seed, image in zip(prompts, seeds, together, strict=True):
        alone = generator.generate([source], [prompt], [seed], strength=strength, steps=4)[0]
        difference = np.abs(np.asarray(image, int) - np.asarray(alone, int))
        assert difference.max() <= 1, "batched kernels differ in the last bits, which 8 bits hide but for rounding"


def test_strength_leaves_pipeline_unchanged(tiny_ldm: Path) -> None:
    generator = Generator.open(tiny_ldm)
    scheduler, config = generator.pipeline.scheduler, dict(generator.pipeline.config)
    before = generator.generate([scene(0)], ["fog"], [0], steps=2)[0]
    generator.generate([scene(0)], ["fog"], [0], strength=0.5, steps=4)
    assert generator.pipeline.scheduler is scheduler
    assert dict(generator.pipeline.config) == config
    assert same(before, generator.generate([scene(0)], ["fog"], [0], steps=2)[0])


def test_guidance_changes_the_image(generator: Generator) -> None:
    plain, guided = (generator.generate([scene(0)], ["fog"], [0], steps=2, guidance_scale=g)[0] for g in (1.0, 6.0))
    assert not same(plain, guided)


def test_fingerprint_follows_the_files(tiny_ldm: Path, tiny_img2img: Path) -> None:
    prints = [Generator.open(p).fingerprint for p in (tiny_ldm, tiny_ldm, tiny_img2img)]
    assert prints[0] == prints[1] != prints[2]


def test_open_invalid_folder_error(tmp_path: Path, tiny_ldm: Path) -> None:
    with pytest.raises(CheckpointError, match="does not exist"):
        Generator.open(tmp_path / "nowhere")
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(CheckpointError, match=r"model_index.json is missing \(found: config.json\)"):
        Generator.open(tmp_path)
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "model_index.json").write_text((tiny_ldm / "model_index.json").read_text())
    with pytest.raises(CheckpointError, match="cannot be opened"):
        Generator.open(broken)
    (broken / "model_index.json").write_text("{")
    with pytest.raises(CheckpointError, match="cannot be opened"):
        Generator.open(broken)


def test_unknown_scheduler_suggests_nearest(tiny_ldm: Path) -> None:
    with pytest.raises(ParameterError, match="DDIMScheduler"):
        Generator.open(tiny_ldm, scheduler="DDIMSheduler")
