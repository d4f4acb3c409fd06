"""Redraw the pictures of the embedded data and of the tiny LDM in ``docs/images``, in the look of all figures.

``python tools/docs/pictures.py [NAMES]``: streets, corpus, tiny_ldm.
"""

from __future__ import annotations

import argparse
import tempfile
import textwrap
from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd
from kedro.config import OmegaConfigLoader
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from dg_project.config import Settings
from dg_project.config.paths import locate_ldm
from dg_project.core.device import resolve_device
from dg_project.data.readers import configured, read_domain
from dg_project.figures.predictions import draw_box, row_dicts
from dg_project.figures.style import bare, class_colour, figure_style, new_figure, readable, tight
from dg_project.settings import CONFIG_LOADER_ARGS

PROJECT = Path(__file__).resolve().parents[2]
IMAGES, CORPUS = PROJECT / "docs" / "images", PROJECT / "data" / "01_raw" / "streets_corpus"
WIDTH, QUALITY = 2.3, 88
VIEWS, SCENES = 5, 4
EVERY = 7
"""Step between the scenes that are shown: neighbours in the list are cameras of one scene."""


def main() -> None:
    """Write the pictures named on the command line, or all."""
    pictures = {"streets": draw_streets, "corpus": draw_corpus, "tiny_ldm": draw_tiny_ldm}
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", default=list(pictures), metavar="NAME")
    loaded = OmegaConfigLoader(str(PROJECT / "conf"), **CONFIG_LOADER_ARGS)["parameters"]
    settings = Settings.model_validate(loaded)
    for name in parser.parse_args().names:
        pictures[name](settings)


def draw_streets(settings: Settings) -> None:
    """Draw test views of Streets in all domains, with their boxes."""
    names = [settings.data.source, *settings.data.targets]
    tests = {name: _rows(settings, name).query("split == 'test'") for name in names}
    figure, axes = _sheet([readable(name) for name in names], VIEWS)
    for column, rows in zip(axes.T, tests.values(), strict=True):
        for cell, row in zip(column, row_dicts(rows.iloc[::EVERY].head(VIEWS)), strict=True):
            cell.imshow(plt.imread(PROJECT / settings.data.root / row["image"]))
            for box, label in zip(row["boxes"], row["labels"], strict=True):
                draw_box(cell, box, class_colour(int(label)), width=0.9)
    patches = [Patch(color=class_colour(label), label=name) for label, name in enumerate(settings.classes, start=1)]
    figure.legend(handles=patches, loc="outside lower center", ncols=len(patches), frameon=False)
    _save(figure, "streets_contact.jpg")


def draw_corpus(settings: Settings) -> None:
    """Draw scenes of the corpus of the tiny LDM with their captions."""
    captions = pd.read_csv(CORPUS / "captions.csv")
    shown = list(captions.groupby("group"))[::2 * EVERY][:SCENES]
    figure, axes = _sheet([], SCENES, columns=len(shown[0][1]))
    for line, (_, rows) in zip(axes, shown, strict=True):
        for cell, row in zip(line, rows.itertuples(), strict=True):
            cell.imshow(plt.imread(CORPUS / row.file))
            cell.set_title(textwrap.fill(row.caption, 36), fontsize=7.5, fontweight="normal")
    _save(figure, "streets_corpus.jpg")


def draw_tiny_ldm(settings: Settings) -> None:
    """Draw source images, and what the embedded diffusion model makes of them."""
    from dg_project.diffusion.generator import Generator
    from dg_project.pseudo.generators.diffusion import DiffusionGenerator
    from dg_project.pseudo.synthesis import synthesise

    root, ldm = PROJECT / settings.data.root, locate_ldm(settings.ldm)
    scenes = _rows(settings, settings.data.source).query("split == 'train'").iloc[::EVERY].head(SCENES)
    generator = Generator.from_params(ldm, resolve_device(settings.training.device))
    painter = DiffusionGenerator(generator, generator.resolved(ldm), root, settings.classes)
    domains = settings.synthesis.domains
    with tempfile.TemporaryDirectory() as work:
        made = synthesise(scenes, root, domains, painter, 1, settings.seed, Path(work))
        found = {(row.domain, row.source_image_id): Path(work) / row.image for row in made.itertuples()}
        figure, axes = _sheet(["clear day (source)", *map(readable, domains)], SCENES)
        for line, row in zip(axes, scenes.itertuples(), strict=True):
            painted = [found[domain, row.image_id] for domain in domains]
            for cell, path in zip(line, [root / row.image, *painted], strict=True):
                cell.imshow(plt.imread(path))
    _save(figure, "tiny_ldm_samples.jpg")


def _rows(settings: Settings, domain: str) -> pd.DataFrame:
    role = "source" if domain == settings.data.source else "target"
    return read_domain(role=role, **configured(settings.data, PROJECT / settings.data.root, domain))[0]


def _sheet(titles: list[str], lines: int, columns: int = 0) -> tuple[Figure, plt.Axes]:
    """Return a figure of bare axes for images of 5:3, with a title above each column, or room for one on each image."""
    columns = columns or len(titles)
    with figure_style():
        line = WIDTH * 0.6 + (0.02 if titles else 0.3)
        figure = new_figure(WIDTH * columns, line * lines + (0.5 if titles else 0))
        axes = figure.subplots(lines, columns, squeeze=False)
        tight(figure)
        for cell in axes.flat:
            bare(cell)
        for cell, title in zip(axes[0], titles, strict=False):
            cell.set_title(title, loc="center", fontweight="normal", fontsize=10)
    return figure, axes


def _save(figure: Figure, name: str) -> None:
    figure.savefig(IMAGES / name, dpi=130, pil_kwargs={"quality": QUALITY, "optimize": True})


if __name__ == "__main__":
    main()
