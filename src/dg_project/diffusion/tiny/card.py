"""The model card, written from measured figures."""

from __future__ import annotations

from typing import Any

import pandas as pd

from dg_project.parameters import PretrainLDMParams

CARD = """---
library_name: diffusers
pipeline_tag: image-to-image
tags: [stable-diffusion, instruct-pix2pix, driving, weather, synthetic]
---
# Tiny LDM: a rendered clear street in other weather

A genuine `StableDiffusionInstructPix2PixPipeline` of {millions:.1f} M parameters (VAE {vae:.2f} M, U-Net {unet:.2f} M, text
encoder {text_encoder:.2f} M; half precision), trained from scratch. It turns a clear day street into fog, rain, dusk, night or
snow and keeps every object where it was. It exists so that the project runs offline and on a CPU; any Stable Diffusion
checkpoint can take its place (`ldm.checkpoint`, a path or a hub name).

```python
from diffusers import StableDiffusionInstructPix2PixPipeline

pipe = StableDiffusionInstructPix2PixPipeline.from_pretrained("data/06_models/tiny_ldm")
night = pipe("a city street at night in heavy rain, wet road", image=day, num_inference_steps=6, guidance_scale=1.0).images[0]
```

## What it was trained on
{groups} groups of *rendered* frames ({height} x {width}), each one clear day and other weather drawn from continuous ranges, of the
same geometry, with a caption each. No layout, camera or traffic is shared with the embedded benchmark, and weather and grading
are drawn differently; like the paper's LDM it knows kinds of weather by name. Prompts follow the captions ("a city street at
night in light rain and fog, wet road") or the paper's scene prompt ("a cityscape photo of a rainy street during night").

## How
| stage | steps | batch | learning rate | loss at the end | minutes |
| --- | --- | --- | --- | --- | --- |
| autoencoder, factor {factor}, {latent_channels} channels | {vae_steps} | {vae_batch} crops of {vae_crop[0]} x {vae_crop[1]} | {vae_lr} | {vae_loss:.4f} | {vae_minutes:.0f} |
| U-Net and text encoder | {unet_steps} | {batch} crops of {crop[0]} x {crop[1]}, every fourth step whole frames | {lr} | {unet_loss:.4f} | {unet_minutes:.0f} |

Velocity prediction, zero terminal SNR, trailing timesteps, DDIM; latents normalised per channel (scaling factor 1); loss
weighted higher inside boxes; weight average 0.999; captions dropped in {dropout:.0%} of the pairs, so guidance is possible but not
needed. Steps ran on `{device}` with {threads} thread(s); the minutes are those of the optimisation steps.

## Figures, on {held_out_frames} held-out frames
The clear twin of each held-out frame is turned into that frame's weather by its own caption; the real frame is the ceiling.

Autoencoder: {vae_psnr:.1f} dB PSNR.

{weather}

{recall}

{seconds}

## Limits
Rendered data only: it knows no real photograph and draws no new objects. Text outside its small vocabulary is read letter by
letter and means nothing to it. Numbers rank settings of this project; they say nothing about real streets.
"""


def model_card(params: PretrainLDMParams, figures: dict[str, Any], histories: dict[str, pd.DataFrame], groups: int) -> str:
    """Return the card as Markdown with a YAML head (Hugging Face's form).

    Args:
        params: the recipe.
        figures: from ``measure``.
        histories: loss tables by stage.
        groups: number of training groups.
    """
    from dg_project.diffusion.tiny.unet_training import TEXT_DROPOUT

    sizes = {name: count / 1e6 for name, count in figures["parameters"].items()}
    losses = {f"{name}_loss": table.filter(like="loss_").sum(axis=1).tail(200).mean() for name, table in histories.items()}
    minutes = {f"{name}_minutes": table["seconds"].sum() / 60 for name, table in histories.items()}
    return CARD.format(
        millions=sum(sizes.values()), groups=groups, height=figures["image_size"][0], width=figures["image_size"][1],
        factor=2 ** (len(params.vae_channels) - 1), vae_batch=params.vae_batch_size, batch=params.batch_size,
        dropout=TEXT_DROPOUT, weather=_weather(figures["weather"]), recall=_recall(figures["recall"]),
        seconds=_seconds(figures), **sizes, **losses, **minutes,
        **params.model_dump(include={"latent_channels", "vae_steps", "vae_crop", "vae_lr", "unet_steps", "crop", "lr"}),
        **{key: figures[key] for key in ("device", "threads", "held_out_frames", "vae_psnr")})


def _weather(scores: dict[str, dict[str, float]]) -> str:
    columns = list(next(iter(scores.values())))
    rows = [f"| {name} | " + " | ".join(f"{values[c]:.0%}" for c in columns) + " |" for name, values in scores.items()]
    return ("Weather as read by a small classifier (logistic regression on image statistics, trained on real training frames; "
            "balanced accuracy):\n\n| images | " + " | ".join(columns) + " |\n|" + " --- |" * (len(columns) + 1) + "\n"
            + "\n".join(rows))


def _recall(scores: dict[str, float]) -> str:
    if not scores:
        return "Kept boxes: not measured (no oracle detector was handed in)."
    rows = [f"| {name} | {value:.0%} |" for name, value in scores.items()]
    return ("Kept boxes found again by an oracle detector trained on all weathers (same class, IoU >= 0.5):\n\n"
            "| images | recall |\n| --- | --- |\n" + "\n".join(rows))


def _seconds(figures: dict[str, Any]) -> str:
    times = ", ".join(f"{seconds:.2f} s with {steps} steps" for steps, seconds in figures["seconds_per_image"].items())
    return f"One image takes {times} ({figures['device']}, {figures['threads']} thread(s))."
