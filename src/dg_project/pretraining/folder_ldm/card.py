"""The model card of an LDM, rendered from measured figures (``card.md.j2``)."""

from __future__ import annotations

from typing import Any

import pandas as pd

from dg_project.config import PretrainFolderLDMParams
from dg_project.core.templates import open_template
from dg_project.diffusion.captions import caption
from dg_project.diffusion.origin import Origin
from dg_project.pretraining.folder_ldm.denoiser import TEXT_DROPOUT
from dg_project.pretraining.folder_ldm.measure import STEPS
from dg_project.pretraining.folder_ldm.pictures import Pictures


def model_card(params: PretrainFolderLDMParams, origin: Origin, train: Pictures, figures: dict[str, Any],
               histories: dict[str, pd.DataFrame]) -> str:
    """Return the card as Markdown with a YAML header, as on the Hugging Face hub.

    Args:
        params: training parameters.
        origin: what the model has seen.
        train: pictures that trained.
        figures: figures from ``measure``, and ``vae_before``.
        histories: loss tables by stage.
    """
    card = open_template("dg_project.pretraining.folder_ldm", "card.md.j2", trim_blocks=False, lstrip_blocks=False)
    return card.render(
        {key: figures[key] for key in ("device", "threads", "held", "judged")},
        params=params,
        origin=origin,
        counts={domain: len(train.rows(domain)) for domain in origin.domains},
        example=caption(params.captions[0], origin.domains[-1], origin.classes[0]),
        dropout=f"{TEXT_DROPOUT:.0%}",
        steps=STEPS,
        millions=f"{sum(figures['parameters'].values()) / 1e6:.1f}",
        sizes={name: f"{count / 1e6:.2f}" for name, count in figures["parameters"].items()},
        psnr={domain: (f"{figures['vae_before'][domain]:.1f}", f"{figures['vae_after'][domain]:.1f}")
              for domain in origin.domains},
        losses={name: f"{_last_loss(table):.3f}" for name, table in histories.items()},
        minutes={name: f"{table['seconds'].sum() / 60:.1f}" for name, table in histories.items()},
        judged_as={name: [f"{share:.0%}" for share in shares] for name, shares in figures["judged_as"].items()},
        seconds=[f"{value:.2f} s at strength {strength}" for strength, value in figures["seconds"].items()],
    )


def _last_loss(history: pd.DataFrame) -> float:
    return float(history.filter(like="loss_").sum(axis=1).tail(200).mean())
