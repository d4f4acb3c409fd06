"""The contact sheet of a trained LDM: source images that never trained, as every source domain."""

from __future__ import annotations

from diffusers import StableDiffusionImg2ImgPipeline
from PIL import Image
from torchvision.transforms.v2.functional import pil_to_tensor

from dg_project.config import PretrainFolderLDMParams
from dg_project.diffusion.captions import caption, words
from dg_project.diffusion.generator import Generator
from dg_project.pretraining.folder_ldm.measure import STEPS, STRENGTHS, every_nth
from dg_project.pretraining.folder_ldm.pictures import Pictures
from dg_project.pretraining.ldm.quality import contact_sheet
from dg_project.pretraining.ldm.vae_training import decode, encode

SHOWN = 3
"""Images of every domain."""
WIDTH = 128


def sample_sheet(pipeline: StableDiffusionImg2ImgPipeline, held: Pictures,
                 params: PretrainFolderLDMParams) -> Image.Image:
    """Return a grid: a row per source image; columns are the source, its autoencoded twin, domains by strength."""
    generator, shown = Generator(pipeline, "shown"), every_nth(held, SHOWN)
    names = list(dict.fromkeys(held.domains))
    twins = decode(pipeline.vae, encode(pipeline.vae, shown.images))
    rows = []
    for row, picture in enumerate(shown.images):
        captions = [caption(params.captions[0], name, shown.classes[row]) for name in names]
        made = [image for strength in STRENGTHS for image in generator.generate(
            [picture] * len(names), captions, [row] * len(names), strength=strength, steps=STEPS)]
        rows.append([picture, twins[row], *(pil_to_tensor(image) for image in made)])
    heads = ["source", "autoencoder", *(f"{words(name)}\nstrength {strength}" for strength in STRENGTHS
                                        for name in names)]
    return contact_sheet(rows, heads, WIDTH)
