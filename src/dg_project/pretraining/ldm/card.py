"""The model card of the tiny LDM, rendered from measured figures (``card.md.j2``)."""

from __future__ import annotations

from typing import Any

import pandas as pd

from dg_project.config import PretrainLDMParams
from dg_project.core.templates import open_template
from dg_project.pretraining.ldm.unet_training import TEXT_DROPOUT


def model_card(
    params: PretrainLDMParams, figures: dict[str, Any], histories: dict[str, pd.DataFrame], groups: int
) -> str:
    """Return the card as Markdown with a YAML header, as on the Hugging Face hub.

    Args:
        params: training parameters.
        figures: figures from ``measure``.
        histories: loss tables by stage.
        groups: number of training groups.
    """
    card = open_template("dg_project.pretraining.ldm", "card.md.j2", trim_blocks=False, lstrip_blocks=False)
    weather = figures["weather"]
    return card.render(
        {key: figures[key] for key in ("device", "threads", "held_out_frames", "image_size")},
        params=params,
        groups=groups,
        factor=2 ** (len(params.vae_channels) - 1),
        dropout=f"{TEXT_DROPOUT:.0%}",
        millions=f"{sum(figures['parameters'].values()) / 1e6:.1f}",
        vae_psnr=f"{figures['vae_psnr']:.1f}",
        **{name: f"{count / 1e6:.2f}" for name, count in figures["parameters"].items()},
        losses={name: f"{_last_loss(table):.3f}" for name, table in histories.items()},
        minutes={name: f"{table['seconds'].sum() / 60:.0f}" for name, table in histories.items()},
        weather={
            "columns": list(next(iter(weather.values()))),
            "rows": {name: [f"{v:.0%}" for v in scores.values()] for name, scores in weather.items()},
        },
        recall={name: f"{value:.0%}" for name, value in figures["recall"].items()},
        seconds=[f"{value:.2f} s with {steps} steps" for steps, value in figures["seconds_per_image"].items()],
    )


def _last_loss(history: pd.DataFrame) -> float:
    return float(history.filter(like="loss_").sum(axis=1).tail(200).mean())
