"""Measure how far DRSF's looks of pseudo images are from frames that really have the weather; no target is opened.

    python benchmarks/look_distance.py                  # after `make run`, which generates the images

For each pseudo domain, the frames of the corpus with its captions are compared with the source images and with each
look of their pseudo images (``drsf.soft_fusion``), in the last stage of ERM: squared maximum mean discrepancy, with the
same scaling and bandwidth for all looks of a domain. Writes ``look_distance.csv``.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import get_args

import numpy as np
import pandas as pd
import torch
from project import ROOT, run_parameters
from torch import Tensor

from dg_project.config import Settings
from dg_project.config.paths import ROOT_VARIABLE, locate_ldm
from dg_project.core.provenance import commit
from dg_project.data.batches import Batch
from dg_project.data.images import load_image, to_float
from dg_project.data.manifest import select
from dg_project.data.readers import configured, read_domain
from dg_project.diffusion.prompts import expand_at
from dg_project.evaluation.features import domain_shift
from dg_project.experiments.regime import last_stage
from dg_project.experiments.scoring import open_model
from dg_project.methods.drsf.soft_fusion import Look, soft_fusion
from dg_project.pipelines.pseudo_images import pseudo_images

REFERENCE = "reference"


def opened(paths: list[Path]) -> list[Tensor]:
    """Return images (3, H, W), 0..1."""
    return [to_float(load_image(path)) for path in paths]


def shown(images: list[Tensor], origins: list[Tensor], look: Look, scale: int) -> list[Tensor]:
    """Return pseudo images as DRSF shows them with one look."""
    torch.manual_seed(0)
    one, rows = torch.ones(len(images)), torch.arange(len(images))
    batch = Batch(images, [{} for _ in images], one.long(), rows, one, origins=list(origins))
    return soft_fusion(batch, [look], scale, 2)[0].images


def main() -> None:
    """Measure every look in every pseudo domain."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--model", type=Path, default=ROOT / "data/06_models/zoo/streets_erm")
    parser.add_argument("--corpus", type=Path, default=ROOT / "data/01_raw/streets_corpus")
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks/results/look_distance.csv")
    options = parser.parse_args()
    os.environ[ROOT_VARIABLE] = str(ROOT)
    parameters = run_parameters()
    settings, scale = Settings.model_validate(parameters), parameters["drsf"]["detail_scale"]
    settings = settings.model_copy(update={"ldm": locate_ldm(settings.ldm)})
    root = Path(settings.data.root)
    source, _ = read_domain(role="source", **configured(settings.data, root, settings.data.source))
    source = select(source, split="train")
    pseudo, folder = pseudo_images(source, settings, settings.seed)
    captions = pd.read_csv(options.corpus / "captions.csv")
    model = open_model(options.model, "cpu", settings.ldm).model.eval()
    path_of = source.set_index("image_id")["image"]

    table = []
    for name, rows in pseudo[pseudo["kept"]].groupby("domain"):
        prompt = settings.synthesis.domains[str(name)].prompt or ""
        files = captions.loc[captions["caption"].isin([expand_at(prompt, at) for at in (0, 0.5, 1)]), "file"]
        images = opened([folder / image for image in rows["image"]])
        origins = opened([root / path_of[source_id] for source_id in rows["source_image_id"]])
        sets = {REFERENCE: opened([options.corpus / file for file in files]), "source": origins}
        sets |= {look: shown(images, origins, look, scale) for look in get_args(Look)}
        found = {key: last_stage(model, one, settings.evaluation.batch_size) for key, one in sets.items()}
        names = [key for key, one in found.items() for _ in one]
        shift = domain_shift(np.concatenate(list(found.values())), names, REFERENCE)
        table.append(shift.rename(columns={"domain": "look", "mmd2": "distance"})[["look", "distance", "n_images"]]
                     .assign(domain=name, n_reference=len(files), commit=commit(ROOT)[:7]))
    result = pd.concat(table)
    result.to_csv(options.out, index=False)
    print(result.pivot_table(index="domain", columns="look", values="distance").round(3).to_string())


if __name__ == "__main__":
    main()
