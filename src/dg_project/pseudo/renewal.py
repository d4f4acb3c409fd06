"""Online augmentation (DomainFusion): a synthetic set that the diffusion model refreshes during training.

Set 0 is the training set. A refresh generates N candidates of some of its images, combines the most different style
with the most similar content, and replaces each image by the result; the next refresh starts from there. Labels and
geometry stay those of the source image, so a refresh of full scenes serves every task; classification crops objects
from them.

A refresh does not depend on the model being trained: a set is determined by the seed, the source images, the diffusion
model and the parameters, and is cached in the workspace.
"""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from torch import Tensor

from dg_project.config import LDMParams, OnlineParams, PseudoDomain, Settings, denoising_steps
from dg_project.core.cache import cache_folder, lock_folder
from dg_project.core.errors import ParameterError
from dg_project.core.files import atomic_folder, file_hash, inside, link_or_copy
from dg_project.data.dataset import row_image, row_target
from dg_project.data.images import load_image, save_image, to_float
from dg_project.data.manifest import image_path, manifest_fingerprint
from dg_project.pseudo.gate import box_visibility, gate
from dg_project.pseudo.generators.diffusion import DiffusionGenerator, image_settings
from dg_project.pseudo.selection import StyleContentChoice, select
from dg_project.pseudo.synthesis import synthesise

if TYPE_CHECKING:
    from dg_project.diffusion.generator import Generator

logger = logging.getLogger(__name__)

DOMAIN = "synthetic"
MANIFEST, CARD = "manifest.parquet", "card.json"


@dataclass(frozen=True)
class SyntheticSet:
    """One version of the synthetic set.

    Attributes:
        manifest: one pseudo row per source training image, in the same order.
        root: folder of the relative image paths; mask paths are relative to the source's root.
        card: how it was made: model, parameters, number of generated images, seconds.
    """

    manifest: pd.DataFrame
    root: Path
    card: dict[str, Any]


class SyntheticSets:
    """All synthetic sets of one run by number; 0 is the training set, later ones are made on first access.

    Args:
        source: training rows of the source domain.
        root: folder of their relative paths.
        params: parameters of the refreshes.
        settings: all parameters; uses seed, ``ldm``, ``synthesis.domains`` and ``sampling.gate``.
        ldm: open diffusion model.
        workspace: folder for finished and unfinished sets.

    Attributes:
        cache_key: everything that determines the sets.
        folder: cache folder of the sets.

    Raises:
        ParameterError: no image could be generated with these parameters.
    """

    def __init__(self, source: pd.DataFrame, root: Path, params: OnlineParams, settings: Settings, ldm: Generator,
                 workspace: Path) -> None:
        self.params, self.settings, self.generator, self.root = params, settings, ldm, root
        self.ldm = ldm.resolved(settings.ldm)
        _check(params, self.ldm)
        self.source = source.reset_index(drop=True)
        fields = set(OnlineParams.model_fields) - {"refresh_epochs", "refreshes"}  # these two only set the times
        made_with = params.model_dump(mode="json", include=fields)
        self.cache_key = [manifest_fingerprint(self.source), settings.seed, ldm.fingerprint, image_settings(self.ldm),
                          settings.synthesis.domains, settings.sampling.gate, made_with]
        self.folder = cache_folder(workspace, "synthetic_sets", *self.cache_key, code=[__name__])
        card = {"number": 0, "images_generated": 0, "ldm_seconds": 0.0}
        self._sets = [SyntheticSet(_initial_manifest(self.source), root, card)]

    def __getitem__(self, number: int) -> SyntheticSet:
        """Return a set, making it and the sets before it if they do not exist yet."""
        while len(self._sets) <= number:
            self._sets.append(self._next_set(self._sets[-1], len(self._sets)))
        return self._sets[number]

    def _next_set(self, current: SyntheticSet, number: int) -> SyntheticSet:
        """Read set ``number`` from the cache, or make it."""
        folder = self.folder / f"set_{number:03d}"
        with lock_folder(self.folder):  # another training that needs the same set waits for it
            if not folder.is_dir():
                self._refresh(current, number, folder)
        return SyntheticSet(pd.read_parquet(folder / MANIFEST), folder, json.loads((folder / CARD).read_text()))

    def _refresh(self, current: SyntheticSet, number: int, folder: Path) -> None:
        """Make set ``number`` from the current one and write it to ``folder``."""
        domains = draw_domains(self.settings.synthesis.domains, self.params, self.settings.seed, number)
        positions = refresh_positions(len(self.source), self.params.refresh_images, number)
        logger.info("refresh %d: %d images, %d candidates each", number, len(positions), len(domains))
        candidates = self.folder / f"candidates_{number:03d}"
        generator = DiffusionGenerator(self.generator, self.ldm, current.root, self.settings.data.classes)
        made = synthesise(current.manifest.iloc[positions].reset_index(drop=True), current.root, domains, generator, 1,
                          self.settings.seed, candidates)
        with atomic_folder(folder) as new:
            rows, card = self._replace(current, made, candidates, number, new)
            rows.to_parquet(new / MANIFEST)
            (new / CARD).write_text(json.dumps(card, indent=1) + "\n")

    def _replace(self, current: SyntheticSet, made: pd.DataFrame, candidates: Path, number: int,
                 folder: Path) -> tuple[pd.DataFrame, dict[str, Any]]:
        """Write the images of the next set into ``folder``; return its rows and card."""
        groups = {str(name): group for name, group in made.groupby("source_image_id", sort=False)}
        entries: Any = current.manifest.to_dict("records")
        rows = []
        for entry, origin in zip(entries, self.source.itertuples(), strict=True):
            group = groups.get(str(entry["source_image_id"]))
            new = {} if group is None else self._recombine(current, entry, origin, group, candidates, folder)
            if "image" in new:
                new["candidate"] = number
            else:
                new["image"] = _link_unchanged(current.root, entry, folder)
            rows.append(entry | new)
        before = current.card
        card = {"number": number, "images": len(rows), "asked": len(groups),
                "replaced": sum(row["candidate"] == number for row in rows),
                "images_generated": before["images_generated"] + len(made),
                "ldm_seconds": before["ldm_seconds"] + float(made["ldm_seconds"].sum()),
                "prompts": made.groupby("domain", sort=False)[["prompt", "strength"]].first().to_dict("index"),
                "seed": self.settings.seed, "model": self.generator.fingerprint, "ldm": image_settings(self.ldm)}
        return pd.DataFrame(rows), card

    def _recombine(self, current: SyntheticSet, entry: dict[str, Any], origin: Any, group: pd.DataFrame,
                   candidates: Path, folder: Path) -> dict[str, Any]:
        """Write an entry's new image and return the changed fields; keep the old image if the gate drops it."""
        image = to_float(load_image(inside(current.root, entry["image"])))
        images = [to_float(load_image(image_path(candidates, row))) for row in group.itertuples()]
        chosen = self._select(images, image)
        target = row_target(origin)
        # Compare with the source image, not with the entry, so that losses do not add up over refreshes.
        visibility = box_visibility(to_float(row_image(self.root, origin)), chosen.image, target["boxes"])
        weight, kept, reason = gate(visibility, target["difficult"], self.settings.sampling.gate)
        if not kept:
            return {"reason": f"kept a former image: {reason}"}
        name = f"{entry['source_image_id']}.png"
        save_image(chosen.image, inside(folder, name))
        style = group.iloc[chosen.style_index]
        return {**{key: style[key] for key in ("prompt", "strength", "guidance_scale", "steps", "seed", "model")},
                "image": name, "sha256": file_hash(inside(folder, name)), "weight": weight, "reason": reason,
                "visibility": visibility.tolist(), "style_distance": chosen.style_distances[chosen.style_index],
                "content_similarity": chosen.content_similarities[chosen.content_index]}

    def _select(self, candidates: Sequence[Tensor], image: Tensor) -> StyleContentChoice:
        """Combine the most different style with the most similar content."""
        if self.params.decomposition == "fourier":
            return select(candidates, image, "fourier", recombine=True)
        from dg_project.diffusion.latents import LatentMap

        maps = LatentMap(self.generator.pipeline, (image.shape[-2], image.shape[-1]))
        return select(candidates, image, "adain", recombine=True, encode=maps.encode, decode=maps.decode)


def draw_domains(domains: dict[str, PseudoDomain], params: OnlineParams, seed: int,
                 number: int) -> dict[str, PseudoDomain]:
    """Draw the domains of the N candidates of refresh ``number``, by names that are unique across refreshes.

    Domains come in random order, each once before any repeats; strengths are uniform in ``params.strength``.
    """
    rng = np.random.default_rng([seed, number])
    order: list[str] = []
    while len(order) < params.candidates:
        order += rng.permutation(list(domains)).tolist()
    drawn = {}
    for k, name in enumerate(order[: params.candidates]):
        strength = domains[name].strength if params.strength is None else round(rng.uniform(*params.strength), 3)
        drawn[f"{number:03d}_{k}_{name}"] = domains[name].model_copy(update={"strength": strength})
    return drawn


def refresh_positions(images: int, each: int | None, number: int) -> list[int]:
    """Return the sorted positions that refresh ``number`` (1-based) replaces: ``each`` at a time, in rotation."""
    count = images if each is None else min(each, images)
    return sorted(((number - 1) * count + i) % images for i in range(count))


def refresh_steps(params: OnlineParams, images: int, images_per_step: int, max_steps: int) -> list[int]:
    """Return the steps (1-based) after which the set is refreshed, all before the last step.

    Args:
        params: T and the maximum number of refreshes.
        images: images in the set. An epoch draws as many rows; classification draws objects, several per image.
        images_per_step: images per step, half from the source and half from the synthetic set.
        max_steps: length of the training.

    Raises:
        ParameterError: the training ends before the first refresh.
    """
    epoch = math.ceil(images / max(1, images_per_step // 2))
    every = max(1, round(params.refresh_epochs * epoch))
    steps = list(range(every, max_steps, every))[:params.refreshes]
    if not steps:
        raise ParameterError(f"an epoch of {images} source images takes {epoch} steps, so with refresh_epochs "
                             f"{params.refresh_epochs} the first refresh would come after step {every}, and the "
                             f"training ends at {max_steps}: raise training.max_steps or images_per_step, or lower "
                             "domainfusion.refresh_epochs")
    return steps


def _initial_manifest(source: pd.DataFrame) -> pd.DataFrame:
    """Return the manifest of set 0: the training images as pseudo rows."""
    unchanged: dict[str, Any] = {
        "candidate": 0, "prompt": "", "strength": 0.0, "guidance_scale": 1.0, "steps": 0, "seed": 0, "model": "",
        "weight": 1.0, "kept": True, "reason": "", "style_distance": 0.0, "content_similarity": 1.0}
    visible: Any = [[1.0] * len(boxes) for boxes in source["boxes"]]
    return source.assign(domain=DOMAIN, role="pseudo", source_image_id=source["image_id"], visibility=visible,
                         **unchanged)


def _link_unchanged(root: Path, entry: dict[str, Any], folder: Path) -> str:
    """Link an entry's unchanged image into the next set; return its path there."""
    name = f"{entry['source_image_id']}{Path(entry['image']).suffix}"
    link_or_copy(inside(root, entry["image"]), inside(folder, name))
    return name


def _check(params: OnlineParams, ldm: LDMParams) -> None:
    if params.strength is not None and denoising_steps(ldm.steps, params.strength[0]) < 1:
        raise ParameterError(f"domainfusion.strength {list(params.strength)} with ldm.steps {ldm.steps} may run no "
                             f"denoising step: raise ldm.steps to {math.ceil(1 / max(params.strength[0], 1e-3))} or "
                             "more, or the strength")
    if ldm.uses_masks:
        raise ParameterError("the online augmentation starts from generated images, which have no masks: set "
                             "ldm.controlnet.condition: edges")
