"""Online lightweight augmentation (DomainFusion): a synthetic set that the diffusion model renews as training goes on.

The set starts as the training set. A refresh makes N candidates of its images, takes the style that is most different
from the image and the content that is most similar to it, and puts what they make together in the image's place, from
where the next refresh goes on. Labels and geometry are those of the source image, so one refresh of whole scenes serves
every task; classification looks at the objects in them.

Nothing of a refresh depends on the model that is trained: a set is determined by the seed, the source images, the
diffusion model and the parameters, and is found again in the workspace.
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
from dg_project.data.dataset import row_target
from dg_project.data.images import load_image, save_image, to_float
from dg_project.data.manifest import image_path, manifest_fingerprint
from dg_project.pseudo.gate import box_visibility, gate
from dg_project.pseudo.selection import Selection, select
from dg_project.pseudo.synthesis import image_settings, synthesise

if TYPE_CHECKING:
    from dg_project.diffusion.generator import Generator

logger = logging.getLogger(__name__)

DOMAIN = "synthetic"
MANIFEST, CARD = "manifest.parquet", "card.json"


@dataclass(frozen=True)
class SyntheticSet:
    """The synthetic set between two refreshes.

    Attributes:
        manifest: one pseudo row per source training image, in its order.
        root: folder that the images' paths are relative to; masks lie below the source's root.
        card: what made it, how many images that took, and how long.
    """

    manifest: pd.DataFrame
    root: Path
    card: dict[str, Any]


class SyntheticSets:
    """The sets of one seed by number: 0 is the training set, each other one is made when it is first asked for.

    Args:
        source: training rows of the source.
        root: folder that their paths are relative to.
        params: how often, how many, how different.
        settings: all parameters; uses seed, ``ldm``, ``synthesis.domains`` and ``sampling.gate``.
        ldm: the opened diffusion model.
        workspace: finished and unfinished sets lie below it.

    Raises:
        ParameterError: parameters under which no image could be made.
    """

    def __init__(self, source: pd.DataFrame, root: Path, params: OnlineParams, settings: Settings, ldm: Generator,
                 workspace: Path) -> None:
        self.params, self.settings, self.generator, self.root = params, settings, ldm, root
        self.ldm = ldm.settled(settings.ldm)
        _check(params, self.ldm)
        self.source = source.reset_index(drop=True)
        kind = set(OnlineParams.model_fields) - {"refresh_epochs", "refreshes"}  # when and how often, not what
        made_with = params.model_dump(mode="json", include=kind)
        self.identity = [manifest_fingerprint(self.source), settings.seed, ldm.fingerprint, image_settings(self.ldm),
                         settings.synthesis.domains, settings.sampling.gate, made_with]
        self.folder = cache_folder(workspace, "synthetic_sets", *self.identity, code=[__name__])
        self._sets = [SyntheticSet(_start(self.source), root, {"number": 0, "images_generated": 0, "ldm_seconds": 0.0})]

    def __getitem__(self, number: int) -> SyntheticSet:
        """Return a set; those before it are made first, where they are not there yet."""
        while len(self._sets) <= number:
            self._sets.append(self._renew(self._sets[-1], len(self._sets)))
        return self._sets[number]

    def _renew(self, current: SyntheticSet, number: int) -> SyntheticSet:
        folder = self.folder / f"set_{number:03d}"
        with lock_folder(self.folder):  # another training that wants the same set waits for it
            if not folder.is_dir():
                self._make(current, number, folder)
        return SyntheticSet(pd.read_parquet(folder / MANIFEST), folder, json.loads((folder / CARD).read_text()))

    def _make(self, current: SyntheticSet, number: int, folder: Path) -> None:
        wishes = draw_wishes(self.settings.synthesis.domains, self.params, self.settings.seed, number)
        chosen = turn(len(self.source), self.params.refresh_images, number)
        logger.info("refresh %d: %d images, %d candidates each", number, len(chosen), len(wishes))
        candidates = self.folder / f"candidates_{number:03d}"
        made = synthesise(current.manifest.iloc[chosen].reset_index(drop=True), current.root, wishes, self.ldm, 1,
                          self.settings.seed, self.generator, candidates, classes=self.settings.data.classes)
        with atomic_folder(folder) as new:
            rows, card = self._replace(current, made, candidates, number, new)
            rows.to_parquet(new / MANIFEST)
            (new / CARD).write_text(json.dumps(card, indent=1) + "\n")

    def _replace(self, current: SyntheticSet, made: pd.DataFrame, candidates: Path, number: int,
                 folder: Path) -> tuple[pd.DataFrame, dict[str, Any]]:
        """Write the next set's images into ``folder``; return its rows and card."""
        groups = {str(name): group for name, group in made.groupby("source_image_id", sort=False)}
        entries: Any = current.manifest.to_dict("records")
        rows = []
        for entry, origin in zip(entries, self.source.itertuples(), strict=True):
            group = groups.get(str(entry["source_image_id"]))
            new = {} if group is None else self._recombine(current, entry, origin, group, candidates, folder)
            if "image" in new:
                new["candidate"] = number
            else:
                new["image"] = _carry_over(current.root, entry, folder)
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
        """Return what changes in an entry, its image written; where objects would be lost the entry stays."""
        image = to_float(load_image(inside(current.root, entry["image"])))
        offers = [to_float(load_image(image_path(candidates, row))) for row in group.itertuples()]
        chosen = self._select(offers, image)
        target = row_target(origin)
        # Seen beside the source image, not beside the entry: else every refresh might lose a little more.
        visibility = box_visibility(to_float(load_image(image_path(self.root, origin))), chosen.image, target["boxes"])
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

    def _select(self, offers: Sequence[Tensor], image: Tensor) -> Selection:
        """Return the most different style on the most similar content."""
        if self.params.decomposition == "fourier":
            return select(offers, image, "fourier", recombine=True)
        from dg_project.diffusion.latents import LatentMap

        maps = LatentMap(self.generator.pipeline, (image.shape[-2], image.shape[-1]))
        return select(offers, image, "adain", recombine=True, encode=maps.encode, decode=maps.decode)


def draw_wishes(domains: dict[str, PseudoDomain], params: OnlineParams, seed: int,
                number: int) -> dict[str, PseudoDomain]:
    """Return what the N candidates of refresh ``number`` are asked for, by a name that no other refresh has.

    The domains come in random order, each once before one comes again; strengths are uniform in ``params.strength``.
    """
    rng = np.random.default_rng([seed, number])
    order: list[str] = []
    while len(order) < params.candidates:
        order += rng.permutation(list(domains)).tolist()
    wishes = {}
    for k, name in enumerate(order[: params.candidates]):
        strength = domains[name].strength if params.strength is None else round(rng.uniform(*params.strength), 3)
        wishes[f"{number:03d}_{k}_{name}"] = domains[name].model_copy(update={"strength": strength})
    return wishes


def turn(images: int, each: int | None, number: int) -> list[int]:
    """Return the sorted positions that refresh ``number`` (1-based) replaces: ``each`` at a time, round and round."""
    count = images if each is None else min(each, images)
    return sorted(((number - 1) * count + i) % images for i in range(count))


def refresh_steps(params: OnlineParams, images: int, images_per_step: int, max_steps: int) -> list[int]:
    """Return the steps (1-based) after which the set is renewed, those before the last step only.

    Args:
        params: T, and how often at most.
        images: images in the set. An epoch draws as many rows; classification draws objects, several of an image.
        images_per_step: half of them are source images, half entries of the synthetic set.
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


def _start(source: pd.DataFrame) -> pd.DataFrame:
    """Return set 0: the training set under another name."""
    nothing: dict[str, Any] = {
        "candidate": 0, "prompt": "", "strength": 0.0, "guidance_scale": 1.0, "steps": 0, "seed": 0, "model": "",
        "weight": 1.0, "kept": True, "reason": "", "style_distance": 0.0, "content_similarity": 1.0}
    whole: Any = [[1.0] * len(boxes) for boxes in source["boxes"]]
    return source.assign(domain=DOMAIN, role="pseudo", source_image_id=source["image_id"], visibility=whole, **nothing)


def _carry_over(root: Path, entry: dict[str, Any], folder: Path) -> str:
    """Link the image of an entry that stays as it is into the next set; return its path there."""
    name = f"{entry['source_image_id']}{Path(entry['image']).suffix}"
    link_or_copy(inside(root, entry["image"]), inside(folder, name))
    return name


def _check(params: OnlineParams, ldm: LDMParams) -> None:
    if params.strength is not None and denoising_steps(ldm.steps, params.strength[0]) < 1:
        raise ParameterError(f"domainfusion.strength {list(params.strength)} with ldm.steps {ldm.steps} may run no "
                             f"denoising step: raise ldm.steps to {math.ceil(1 / max(params.strength[0], 1e-3))} or "
                             "more, or the strength")
    if ldm.uses_masks:
        raise ParameterError("the online augmentation makes images of images that have no mask beside them: set "
                             "ldm.controlnet.condition: edges")
