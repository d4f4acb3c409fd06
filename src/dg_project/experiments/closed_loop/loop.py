"""The algorithm: train, measure which domains are hard, synthesise more of those, and continue."""

from __future__ import annotations

import json
import logging
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from dg_project.config import PseudoDomain, Settings
from dg_project.core.cache import lock_folder
from dg_project.core.device import resolve_device
from dg_project.core.errors import DataError, ParameterError
from dg_project.core.files import atomic_file, atomic_folder
from dg_project.data.manifest import manifest_fingerprint, select
from dg_project.diffusion.generator import Generator
from dg_project.experiments.closed_loop.allocation import shrink
from dg_project.experiments.closed_loop.difficulty import measure
from dg_project.experiments.closed_loop.planning import COMPOSED, RoundPlan, budget, check_generator, plan_round
from dg_project.experiments.training_data import TrainingData, generated_before
from dg_project.experiments.training_run import Trained, TrainingRun
from dg_project.pseudo.generators.diffusion import DiffusionGenerator, image_settings
from dg_project.pseudo.sampling import Recognise, sample
from dg_project.pseudo.synthesis import eligible, image_seed, synthesise
from dg_project.training.loop import TrainResult

logger = logging.getLogger(__name__)

MANIFEST, CARD, DIFFICULTY = "manifest.parquet", "card.json", "difficulty.csv"


def label(method: str) -> str:
    """Return the name in results of a method that was trained in the closed loop."""
    return f"{method}_closed_loop"


class Painter(NamedTuple):
    """Makes and judges pseudo images: the opened diffusion model, and the CLIP filter of the gate, if there is one."""

    generator: Generator
    recognise: Recognise | None = None


@dataclass(frozen=True)
class Outcome:
    """Result of a closed loop.

    Attributes:
        trained: model and losses.
        rounds: folder of every round: ``round<n>/`` with images, ``manifest.parquet``, ``card.json`` and
            ``difficulty.csv``, and the probes in ``probes/``.
        pseudo: manifest of the last round's training set; images relative to ``rounds``.
        allocation: one row per round and domain: ``round, domain, difficulty, n_images, strength, share, scenes,
            images, kept, prompt``. ``difficulty`` and ``n_images`` (probes) were measured at the end of the round,
            the rest was decided before it; ``images`` were generated, ``kept`` passed the gate.
    """

    trained: Trained
    rounds: Path
    pseudo: pd.DataFrame
    allocation: pd.DataFrame


def run_closed_loop(name: str, settings: Settings, source: TrainingData, painter: Painter, workspace: Path,
                    wait: bool = True) -> Outcome:
    """Train a method in rounds; each round gets pseudo images of the domains that were hardest before.

    An interrupted loop is resumed: images, sets, measurements and the training are stored as they come.

    Args:
        name: method name; any that uses pseudo domains.
        settings: all parameters; ``settings.closed_loop`` steers.
        source: source images alone. Difficulty is measured on pseudo images of its val split; no target is opened.
        painter: diffusion model of ``settings.ldm``, and the gate's CLIP filter.
        workspace: folder of cached work.
        wait: wait for another process that does the same.

    Raises:
        DataError: the source has no val split, or the gate dropped everything.
        ParameterError: the method uses no pseudo images, the domains have no prompts, or the budget is too small.
        BusyError: another process does the same, and ``wait`` is False.
    """
    loop = _Loop(name, settings, source, painter, workspace)
    with lock_folder(loop.training.folder, wait):
        return loop.run()


def find_closed_loop(name: str, settings: Settings, source: TrainingData, painter: Painter,
                     workspace: Path) -> Trained | None:
    """Return the model that ``run_closed_loop`` trained, or None if it is not finished."""
    return _Loop(name, settings, source, painter, workspace).training.cached()


class _Loop:
    """Parts of ``run_closed_loop``; each stores its result on disk and reads it there."""

    def __init__(self, name: str, settings: Settings, source: TrainingData, painter: Painter,
                 workspace: Path) -> None:
        self.settings, self.source = settings, source
        self.generator, self.recognise = painter
        self.params, self.synthesis = settings.closed_loop, settings.synthesis
        check_generator(self.synthesis)
        if settings.training.max_steps < self.params.rounds:
            raise ParameterError(f"closed_loop.rounds: {self.params.rounds} rounds do not fit into "
                                 f"{settings.training.max_steps} training steps; lower it, or raise training.max_steps")
        self.label = label(name)
        self.ldm = self.generator.resolved(settings.ldm)
        bounds = self.synthesis.min_boxes, self.synthesis.max_boxes
        self.scenes = eligible(select(source.source, split="train"), *bounds, self.synthesis.n_images)
        held_out = select(source.source, split="val")
        if held_out.empty:
            raise DataError("the closed loop measures difficulty on held-out source scenes, and the source has no val "
                            "split; give data.splits.val, such as train[90%:]")
        self.held_out = _spread(eligible(held_out, *bounds, None), self.params.probe_images)
        self.budget = budget(len(self.scenes), len(self.held_out) * len(self.synthesis.domains), self.synthesis,
                             self.params)
        domains = [*self.synthesis.domains, *([COMPOSED] if self.params.compositions else [])]
        inputs = ["closed loop", self.params, self.synthesis, settings.sampling, image_settings(self.ldm),
                  self.generator.fingerprint, manifest_fingerprint(self.scenes), manifest_fingerprint(self.held_out)]
        self.training = TrainingRun.resolve_in_parts(name, settings, source, domains, workspace, inputs, [__name__])
        self.rounds = self.training.folder / "rounds"
        self.probes = pd.DataFrame()

    def run(self) -> Outcome:
        """Make the probes, then run the rounds."""
        self.probes = self._make("probes", dict.fromkeys(self.synthesis.domains, self.held_out),
                                 self.synthesis.domains, candidates=1)
        pseudo: pd.DataFrame | None = None
        difficulty: dict[str, float] | None = None
        plans: list[RoundPlan] = []
        for number, scenes in enumerate(self.budget, 1):
            plan = self.plan(number, scenes, difficulty)
            plans.append(plan)
            pseudo = self.training_set(pseudo, self.synthesise(plan, plans[:-1]))
            difficulty = self.train_and_measure(number, pseudo)
        assert pseudo is not None
        trained = self.training.cached()
        assert trained is not None
        return Outcome(trained, self.rounds, pseudo, self.allocation(plans))

    def plan(self, number: int, scenes: int, difficulty: dict[str, float] | None) -> RoundPlan:
        return plan_round(number, scenes, len(self.scenes), self.synthesis.domains, difficulty, self.params,
                          self.settings.seed)

    def synthesise(self, plan: RoundPlan, before: list[RoundPlan]) -> pd.DataFrame:
        """Return the sampled images of a round; a domain uses new scenes as long as there are any."""
        chosen = {name: self._scenes(name, sum(past.images.get(name, 0) for past in before), count)
                  for name, count in plan.images.items() if count}
        logger.info("round %d of %d: %s", plan.number, self.params.rounds,
                    ", ".join(f"{name} {count}" for name, count in plan.images.items()))
        made = self._make(f"round{plan.number}", chosen, plan.domains, self.synthesis.candidates)
        card = self.rounds / f"round{plan.number}" / CARD
        with atomic_file(card) as aside:
            aside.write_text(json.dumps({**asdict(plan), "until_step": self._until(plan.number), "domains": {
                name: domain.model_dump(mode="json") for name, domain in plan.domains.items()}}, indent=1))
        return made

    def training_set(self, old: pd.DataFrame | None, new: pd.DataFrame) -> pd.DataFrame:
        """Return the pseudo images of the next part; for a scene in a domain only the newest image."""
        if old is None or self.params.images == "renew":
            return new
        both = pd.concat([old, new], ignore_index=True)
        return both.drop_duplicates(["domain", "source_image_id"], keep="last", ignore_index=True)

    def train_and_measure(self, number: int, pseudo: pd.DataFrame) -> dict[str, float]:
        """Train to the end of a round and return the shrunken difficulty of each domain."""
        stored = self.rounds / f"round{number}" / DIFFICULTY
        last = number == self.params.rounds
        if not stored.exists() or (last and not self.training.finished.is_dir()):
            data = TrainingData(self.source.source, self.source.source_root, pseudo, self.rounds)
            result = self.training.advance(data, self._until(number))
            self._measure(stored)
            if last:
                self._finish(result)
        table = pd.read_csv(stored)
        names = [str(name) for name in table["domain"]]
        return shrink(dict(zip(names, table["difficulty"], strict=True)),
                      dict(zip(names, table["n_images"], strict=True)), self.params.prior_images)

    def allocation(self, plans: list[RoundPlan]) -> pd.DataFrame:
        """Return the table of ``Outcome.allocation``."""
        return pd.concat([self._allocation(plan) for plan in plans], ignore_index=True)

    def _measure(self, stored: Path) -> None:
        table = measure(self.training.method, self.training.spec, self.probes, self.rounds, self.source.source_root,
                        min_visibility=self.settings.sampling.gate.least_visibility(self.settings.task),
                        batch_size=self.settings.evaluation.batch_size,
                        device=resolve_device(self.settings.training.device))
        with atomic_file(stored) as aside:
            table.to_csv(aside, index=False)

    def _finish(self, result: TrainResult) -> None:
        parts = [self.probes, *(pd.read_parquet(self.rounds / f"round{number}" / MANIFEST)
                                for number in range(1, self.params.rounds + 1))]
        generated = generated_before(pd.concat(parts, ignore_index=True))
        self.training.finish(result, label=self.label, images_generated=generated.images, ldm_seconds=generated.seconds,
                           rounds=self.params.rounds)

    def _until(self, number: int) -> int:
        return round(self.settings.training.max_steps * number / self.params.rounds)

    def _scenes(self, domain: str, used: int, count: int) -> pd.DataFrame:
        """Return the next ``count`` source scenes of a domain's own random order, cyclically."""
        order = np.random.default_rng(image_seed(self.settings.seed, domain, "scenes", 0)).permutation(len(self.scenes))
        return self.scenes.iloc[np.resize(np.roll(order, -used), count)].reset_index(drop=True)

    def _make(self, part: str, scenes: dict[str, pd.DataFrame], domains: dict[str, PseudoDomain],
              candidates: int) -> pd.DataFrame:
        """Return the sampled images of a part of the loop, below ``rounds/<part>``."""
        folder = self.rounds / part
        if not (folder / MANIFEST).exists():
            root = self.training.folder / "candidates" / part
            source_root, seed = self.source.source_root, image_seed(self.settings.seed, part, "", 0)
            generator = DiffusionGenerator(self.generator, self.ldm, source_root, self.settings.data.classes)
            made = pd.concat([synthesise(rows, source_root, {name: domains[name]}, generator, candidates, seed, root)
                              for name, rows in scenes.items()], ignore_index=True)
            with atomic_folder(folder) as new:
                kept = sample(self.source.source, self.source.source_root, made, root, self.settings.sampling, new,
                              self.recognise)
                kept.assign(image=f"{part}/" + kept["image"], round=part).to_parquet(new / MANIFEST)
        return pd.read_parquet(folder / MANIFEST)

    def _allocation(self, plan: RoundPlan) -> pd.DataFrame:
        folder = self.rounds / f"round{plan.number}"
        made, measured = pd.read_parquet(folder / MANIFEST), pd.read_csv(folder / DIFFICULTY).set_index("domain")
        kept = made.groupby("domain")["kept"].sum()
        rows: list[dict[str, Any]] = []
        for name in self.training.spec.domains[1:]:
            scenes, domain = plan.images.get(name, 0), plan.domains.get(name)
            rows.append({
                "round": plan.number, "domain": name, "difficulty": measured["difficulty"].get(name, np.nan),
                "n_images": int(measured["n_images"].get(name, 0)), "strength": domain.strength if domain else np.nan,
                "share": plan.share.get(name, 0.0), "scenes": scenes, "images": scenes * self.synthesis.candidates,
                "kept": int(kept.get(name, 0)), "prompt": (domain.prompt or "vocabulary") if domain else ""})
        return pd.DataFrame(rows)


def _spread(rows: pd.DataFrame, n: int) -> pd.DataFrame:
    """Return n evenly spread rows: neighbours often show the same layout."""
    return rows.iloc[np.unique(np.linspace(0, len(rows) - 1, min(n, len(rows))).round().astype(int))].reset_index(
        drop=True)
