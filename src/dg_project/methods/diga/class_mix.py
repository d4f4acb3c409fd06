"""Mix two images along the classes of one of them: CrossDoMix (DiGA) and DACS (Tranheden et al., WACV 2021)."""

from __future__ import annotations

import torch
from torch import Tensor

from dg_project.data.batches import Batch
from dg_project.methods.diga.distillation import strong_view
from dg_project.tasks.base import Inputs
from dg_project.tasks.segmentation import IGNORE, Segmenter, input_masks


def half_of_the_classes(masks: Tensor) -> Tensor:
    """Draw half of the classes (rounded down) of every mask; return the pixels of these classes and ignored pixels.

    Args:
        masks: (N, H, W) int64 train ids.

    Returns:
        (N, H, W) bool.
    """
    chosen = masks == IGNORE
    for place, mask in zip(chosen, masks, strict=True):
        classes = mask[mask != IGNORE].unique()
        half = classes[torch.randperm(len(classes)).to(classes.device)[:len(classes) // 2]]
        place |= torch.isin(mask, half)
    return chosen


def mixed(chosen: Tensor, here: Tensor, elsewhere: Tensor) -> Tensor:
    """Return ``here`` at chosen pixels (N, H, W), else ``elsewhere``: images (N, 3, H, W) or masks (N, H, W)."""
    return torch.where(chosen if here.ndim == chosen.ndim else chosen[:, None], here, elsewhere)


def translations(domain_id: Tensor, pair_id: Tensor) -> Tensor:
    """Draw one of the pseudo images made from each source row.

    Args:
        domain_id: (B,), 0 is the source.
        pair_id: (B,), equal for images of one scene.

    Returns:
        (S,) row of that image for each of the S source rows; the source row itself if there is none.
    """
    drawn = []
    for row in torch.where(domain_id == 0)[0].tolist():
        made = torch.where((pair_id == pair_id[row]) & (domain_id > 0))[0].tolist()
        drawn.append(made[int(torch.randint(len(made), ()))] if made else row)
    return torch.tensor(drawn, dtype=torch.int64, device=domain_id.device)


def strong_views(model: Segmenter, batch: Batch, beta: float) -> Tensor:
    """Return the strong views (S, 3, H, W) of the source images of a batch, normalised."""
    return model.prepare(strong_view(batch.rows(batch.domain_id == 0).images, beta)).images


def crossdomix_views(model: Segmenter, batch: Batch, source: Inputs, beta: float) -> Tensor:
    """Return strong views (S, 3, H, W) that keep half of the classes and ignored pixels; the rest is translated.

    Images without a pseudo image in the batch keep their full strong view.

    Args:
        model: task model, which prepares the views.
        batch: source images, and pseudo images made from them.
        source: the source images as network input.
        beta: strength of the strong view.
    """
    rows = translations(batch.domain_id, batch.pair_id)
    translated = model.prepare([batch.images[row] for row in rows.tolist()]).images
    alone = (batch.domain_id[rows] == 0)[:, None, None]
    return mixed(alone | half_of_the_classes(input_masks(source)), strong_views(model, batch, beta), translated)
