"""Scores trained models on source-side images alone: what to tune a method on when no target may be looked at.

    python benchmarks/held_out.py data/06_models/benchmark_models    # every model below it; prints, writes held_out.csv

Three figures, of the main metric of each model's task: the source's validation images; **held-out pseudo domains**, the
same scenes painted by the diffusion model in weathers that no training prompt names; **corruptions**, the same scenes
under plain changes of the pixels. The first says what is lost on the source, the second what is gained inside the world
of the diffusion model, the third what is gained outside of it. Painted images are kept in the workspace.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image, ImageFilter
from project import ROOT, run_parameters

from dg_project.config import PseudoDomain, Settings
from dg_project.core.cache import cache_folder
from dg_project.core.device import resolve_device
from dg_project.data.manifest import select
from dg_project.data.readers import configured, read_domain
from dg_project.diffusion.generator import Generator
from dg_project.evaluation.scorer import ALL, score_predictions
from dg_project.evaluation.scorers import SCORERS, main_metric
from dg_project.experiments.scoring import predict, rows_of
from dg_project.methods.model_folder import CARD, read_card
from dg_project.pipelines.paths import ROOT_VARIABLE, locate_ldm
from dg_project.pseudo.synthesis import image_settings, synthesise

SEED = 77
HELD_OUT = {
    "snow_night": "a city street at night in falling snow, snowy road",
    "snow_day": "a city street during the day in falling snow, snowy road",
    "night_fog": "a city street at night in {fog|light fog}",
    "day_rain": "a city street during the day in heavy rain, wet road",
    "dusk_fog": "a city street at dusk in {fog|dense fog}",
}
Pixels = np.ndarray[Any, Any]


def corruptions(rng: np.random.Generator) -> dict[str, Callable[[Pixels], Pixels]]:
    """Return changes of an image (H, W, 3) float in 0..1; results may leave that range."""
    def haze(x: Pixels) -> Pixels:
        clear = np.linspace(0.15, 0.75, len(x))[:, None, None]  # the upper rows are far away
        return x * clear + (1 - clear) * np.array([0.8, 0.82, 0.85])

    def rain(x: Pixels) -> Pixels:
        drops = rng.random(x.shape[:2]) > 0.985
        streaks = np.clip(sum(np.roll(drops, k, 0) * 1.0 for k in range(9)), 0, 1)[..., None]
        return 0.25 * x + 0.25 * x.mean(-1, keepdims=True) + 0.15 + 0.25 * streaks

    def blur(x: Pixels) -> Pixels:
        soft = Image.fromarray((x * 255).astype(np.uint8)).filter(ImageFilter.GaussianBlur(1.3))
        return np.asarray(soft, np.float32) / 255 * 0.8

    return {"haze": haze, "rain": rain, "blur": blur,
            "dark": lambda x: x**1.8 * 0.35 + rng.normal(0, 0.02, x.shape),
            "blue": lambda x: x**1.5 * np.array([0.35, 0.45, 0.7]) + rng.normal(0, 0.03, x.shape)}


def corrupt(val: pd.DataFrame, root: Path, folder: Path) -> pd.DataFrame:
    """Write the corrupted images below ``folder`` and return their rows."""
    rows = []
    for name, change in corruptions(np.random.default_rng(SEED)).items():
        (folder / name).mkdir(parents=True, exist_ok=True)
        for row in val.to_dict("records"):
            pixels = np.asarray(Image.open(root / row["image"]), np.float32) / 255
            image = f"{name}/{row['image_id']}.png"
            Image.fromarray((np.clip(change(pixels), 0, 1) * 255).astype(np.uint8)).save(folder / image)
            rows.append({**row, "image": image, "domain": name})
    return pd.DataFrame(rows)


def main() -> None:
    """Make the images, score the models and write ``held_out.csv``."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("models", type=Path, help="folder with trained models at any depth")
    parser.add_argument("--scenes", type=int, default=60, help="validation images of the source")
    options = parser.parse_args()
    settings = Settings.model_validate(run_parameters())
    root, device = ROOT / settings.data.root, resolve_device(settings.training.device)
    source, _ = read_domain(role="source", **configured(settings.data, root, settings.data.source))
    val = select(source, split="val").head(options.scenes)

    os.environ[ROOT_VARIABLE] = str(ROOT)
    ldm = locate_ldm(settings.ldm)
    generator = Generator.from_params(ldm, device)
    ldm = generator.resolved(ldm)
    work = cache_folder(ROOT / settings.workspace, "held_out", generator.fingerprint, image_settings(ldm), options.scenes)
    wanted = {name: PseudoDomain(prompt=prompt, strength=1.0) for name, prompt in HELD_OUT.items()}
    painted = synthesise(val, root, wanted, ldm, 1, SEED, generator, work / "painted", classes=settings.classes)
    sets = {"source_val": (val, root), "held_out_pseudo": (painted, work / "painted"),
            "corruptions": (corrupt(val, root, work / "corrupted"), work / "corrupted")}

    table = []
    for card in sorted(options.models.rglob(CARD)):
        spec = read_card(card.parent)[0]
        line: dict[str, Any] = {"model": str(card.parent.relative_to(options.models))}
        for name, (rows, where) in sets.items():
            found = predict(card.parent, rows, where, settings.evaluation.batch_size, str(device))
            # Label images are those of the source, for every set.
            scores = score_predictions(SCORERS[spec.task], found, rows_of(card.parent, rows), spec.classes, root,
                                       (main_metric(spec.task),))
            line[name] = round(100 * float(scores.loc[scores["class"] == ALL, "value"].mean()), 1)
        print(line)
        table.append(line)
    pd.DataFrame(table).to_csv(options.models / "held_out.csv", index=False)


if __name__ == "__main__":
    main()
