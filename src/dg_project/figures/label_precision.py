"""Labels that two sides agree on beside labels above a confidence: how many pixels get one, and how many are right."""

from __future__ import annotations

from math import isnan

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from dg_project.evaluation.intervals import t_interval
from dg_project.figures.style import MUTED, headline, look, method_colours, method_label, new_figure

SIDES = ["labels_of", "features_of"]


def label_precision(quality: pd.DataFrame, threshold: float, images: str) -> Figure:
    """Draw precision over coverage, one panel per pair of a model that labels and a model whose features must agree.

    Args:
        quality: ``labels_of``, ``features_of`` and the columns of ``label_quality.quality_table``.
        threshold: confidence of the rule ``threshold``.
        images: what was labelled, for the caption.
    """
    pairs = {(str(labels), str(features)): rows for (labels, features), rows in quality.groupby(SIDES, sort=False)}
    colours = method_colours(list(dict.fromkeys(features for _, features in pairs)))
    with look():
        figure = new_figure(3.8 * len(pairs) + 0.6, 4.6)
        panels = figure.subplots(1, len(pairs), sharey=True, squeeze=False)[0]
        for axes, ((labels, features), rows) in zip(panels, pairs.items(), strict=True):
            _panel(axes, rows, threshold, colours[features], own=labels != features)
            axes.set_title(f"labels of {method_label(labels)},\nfeatures of {method_label(features)}")
        panels[0].set_ylabel("precision: right labels (%)")
        marks = {str(mark.get_label()): mark for axes in panels for mark in axes.get_legend_handles_labels()[0]}
        headline(figure, f"Precision of the consensus against confidence, at equal coverage: {_gains(pairs)} points",
                 "The model named first labels the same images by both rules; the line ranks pixels by its confidence. "
                 "The consensus keeps the labels that the features of the model named second agree with, compared with "
                 "centroids of unlabelled images. A round of self-training begins with one model on both sides, and "
                 "ends with features that have adapted. Class by class, each at its own coverage: "
                 f"{_gains(pairs, '_by_class')}. Labelled here: {images}.", list(marks.values()))
    return figure


def _panel(axes: Axes, rows: pd.DataFrame, threshold: float, colour: str, own: bool) -> None:
    percent = {str(rule): 100 * part[["coverage", "precision"]].to_numpy() for rule, part in rows.groupby("rule")}
    (x, y), (_, equal) = percent["consensus"][0], percent["equal"][0]
    axes.plot(*percent["curve"].T, color=MUTED, linewidth=1.3, label="most confident first")
    axes.plot([x, x], [equal, y], color=colour, linewidth=1, linestyle=":")
    axes.plot(*percent["threshold"][0], "s", color=MUTED, markersize=7, label=f"confidence {threshold:g} or more")
    axes.plot(x, y, "o", color=colour, markersize=8, label="consensus")
    if own:
        axes.plot(*percent["teacher"][0], "^", color=MUTED, markersize=7, label="labels of the features' own model")
    if not isnan(y):
        axes.annotate(f"{y - equal:+.1f}", (x, (y + equal) / 2), xytext=(6, 0), textcoords="offset points",
                      va="center", fontsize=8.5)
    axes.set_xlabel("coverage: pixels with a label (%)")
    axes.set_xlim(0, 103)
    axes.grid()


def _gains(pairs: dict[tuple[str, str], pd.DataFrame], means: str = "") -> str:
    gains = []
    for rows in pairs.values():
        value = rows.drop_duplicates("rule").set_index("rule")["precision"]
        gain = 100 * (value[f"consensus{means}"] - value[f"equal{means}"])
        gains.append("no label" if isnan(gain) else f"{gain:+.1f}")
    return ", ".join(gains)


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
