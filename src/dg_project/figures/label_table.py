"""How right DiGA's labels are over seeds, as a table of docs/diga.md."""

from __future__ import annotations

import pandas as pd

from dg_project.evaluation.statistics import t_interval
from dg_project.figures.label_precision import SIDES
from dg_project.figures.style import method_label


def label_table(quality: pd.DataFrame) -> str:
    """Return a table in Markdown, one row per pair of a model that labels and a model whose features must agree.

    Args:
        quality: ``seed``, ``labels_of``, ``features_of``, ``n_images`` and the columns of
            ``label_quality.quality_table``.
    """
    lines = ["| labels of | features of | coverage | consensus | as many most confident | difference "
             "| features' own labels |", "|---|---|---|---|---|---|---|"]
    for (labels, features), rows in quality.groupby(SIDES, sort=False):
        value = 100 * rows.pivot(index="seed", columns="rule", values="precision")
        gain = t_interval((value["consensus"] - value["equal"]).tolist())
        coverage = 100 * rows.loc[rows["rule"] == "consensus", "coverage"].mean()
        mean = value.mean()
        lines.append(f"| {method_label(str(labels))} | {method_label(str(features))} | {coverage:.1f} "
                     f"| {mean['consensus']:.1f} | {mean['equal']:.1f} "
                     f"| {gain.mean:+.1f} [{gain.low:+.1f}, {gain.high:+.1f}] | {mean['teacher']:.1f} |")
    seeds, images = quality["seed"].nunique(), quality["n_images"].max()
    return "\n".join([*lines, "", f"Means of {seeds} seeds in % of the pixels, differences in points with 95 % "
                                  f"intervals over seeds; {images} test images of the targets, labelled after the "
                                  "trainings. The last column: as many of the most confident labels that the model "
                                  "whose features are looked at would give itself."])
