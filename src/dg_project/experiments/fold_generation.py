"""What a fold generates with: a diffusion model that never saw the domain left out, and prompts of its sources.

``{held_out}`` in ``ldm.checkpoint`` is the name of the domain left out. A pseudo domain with ``{source}`` in its prompt
becomes one pseudo domain per source.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pandas as pd

from dg_project.config import LDMParams, PseudoDomain, Settings
from dg_project.core.errors import CheckpointError
from dg_project.diffusion.captions import HELD_OUT, SOURCE, fill
from dg_project.diffusion.origin import Origin
from dg_project.methods import method_class

INDEX = "model_index.json"


def generates(method: str, settings: Settings) -> bool:
    """Return whether a method uses the diffusion model, or images that it made before."""
    return method_class(method).needs.ldm != "none" or trains_on_pseudo_images(method, settings)


def trains_on_pseudo_images(method: str, settings: Settings) -> bool:
    """Return whether a method trains on pseudo images that are made before its training."""
    return method_class(method).needs.on(settings.training.batches).pseudo == "offline"


def fold_generation(settings: Settings, held_out: str, sources: Sequence[str]) -> Settings:
    """Return the settings with the diffusion model and the pseudo domains of one fold.

    Raises:
        CheckpointError: see ``fold_ldm``.
    """
    domains = fold_domains(settings.synthesis.domains, sources)
    synthesis = settings.synthesis.model_copy(update={"domains": domains})
    ldm = fold_ldm(settings.ldm, held_out, settings.data.root)
    return settings.model_copy(update={"ldm": ldm, "synthesis": synthesis})


def every_generation(settings: Settings, domains: Sequence[str]) -> Iterator[Settings]:
    """Yield ``fold_generation`` of every domain left out in turn."""
    for held_out in domains:
        yield fold_generation(settings, held_out, [name for name in domains if name != held_out])


def fold_ldm(ldm: LDMParams, held_out: str, root: str) -> LDMParams:
    """Return the parameters with the diffusion model of one fold.

    A model that says what it has seen (``diffusion.origin``) must not have seen the domain left out. Where the name of
    the checkpoint depends on that domain, the model must say so.

    Args:
        ldm: parameters, paths located.
        held_out: domain that the fold leaves out.
        root: data root, for the message.

    Raises:
        CheckpointError: there is no model for this fold, it has seen the domain, or it does not say what it has seen.
    """
    named = ldm.checkpoint.replace(HELD_OUT, held_out)
    folder, own = _newest(Path(named)), HELD_OUT in ldm.checkpoint
    train = (f"kedro run --pipeline=pretrain_folder_ldm --params data.root={root},"
             f"pretrain_folder_ldm.held_out={held_out}")
    if own and folder is None:
        raise CheckpointError(f"there is no diffusion model for the fold that leaves '{held_out}' out: '{named}' holds "
                              f"none; train it first: {train}")
    origin = Origin.read(folder) if folder else None
    if own and origin is None:
        raise CheckpointError(f"the diffusion model '{folder}' does not say which domains it has seen (origin.json is "
                              f"missing), so '{held_out}' may be among them; train one that does: {train}")
    if origin and held_out in origin.domains:
        raise CheckpointError(f"the diffusion model '{folder}' was trained on '{held_out}', the domain that this fold "
                              f"leaves out (it saw {', '.join(origin.domains)}); use one that never saw it: "
                              f"ldm.checkpoint with {HELD_OUT} in its path, after {train}")
    return ldm.model_copy(update={"checkpoint": str(folder or named)})


def _newest(path: Path) -> Path | None:
    """Return a model's folder: the path itself, or the one in the newest version that the catalog keeps of its parent.

    ``data/06_models/folder_ldms/photo`` also means ``data/06_models/folder_ldms/<version>/folder_ldms/photo``.
    """
    if (path / INDEX).is_file():
        return path
    versions = sorted(path.parent.glob(f"*/{path.parent.name}/{path.name}/{INDEX}"))
    return versions[-1].parent if versions else None


def fold_domains(domains: Mapping[str, PseudoDomain], sources: Sequence[str]) -> dict[str, PseudoDomain]:
    """Return the pseudo domains of a fold: one per source for those that have ``{source}`` in their prompt.

    >>> fold_domains({"as": PseudoDomain(prompt="a {source}")}, ["art_painting"])["as_art_painting"].prompt
    'an art painting'
    """
    made: dict[str, PseudoDomain] = {}
    for name, domain in domains.items():
        if domain.prompt is None or SOURCE not in domain.prompt:
            made[name] = domain
            continue
        for source in sources:
            prompt = fill(domain.prompt, source=source)
            made[f"{name}_{source}"] = domain.model_copy(update={"prompt": prompt})
    return made


def evenly(rows: pd.DataFrame, seed: int) -> pd.DataFrame:
    """Return the rows in an order in which the first n hold as many of each domain, drawn by the seed and the ids.

    ``synthesis.n_images`` and ``refresh_images`` take first rows, which would otherwise be of one class of one domain.
    """
    order = [hashlib.sha256(f"{seed}/{name}".encode()).digest() for name in rows["image_id"]]
    drawn = rows.assign(order=order).sort_values("order").drop(columns="order")
    place = drawn.groupby("domain", sort=False).cumcount()
    return drawn.assign(place=place).sort_values("place", kind="stable").drop(columns="place").reset_index(drop=True)
