"""Compare pseudo labels by consensus with pseudo labels by confidence: coverage and precision."""

from __future__ import annotations

from math import isnan

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from dg_project.evaluation.formatting import gain_and_interval, percent
from dg_project.evaluation.intervals import t_interval
from dg_project.figures.style import MUTED, figure_style, headline, method_colours, method_label, new_figure

SIDES = ["labels_of", "features_of"]


def label_precision(quality: pd.DataFrame, threshold: float, images: str) -> Figure:
    """Draw precision over coverage, one panel per (labelling model, feature model).

    Args:
        quality: ``labels_of``, ``features_of`` and the columns of ``label_quality.quality_table``.
        threshold: confidence of the rule ``threshold``.
        images: description of the labelled images, for the caption.
    """
    pairs = {(str(labels), str(features)): rows for (labels, features), rows in quality.groupby(SIDES, sort=False)}
    colours = method_colours(list(dict.fromkeys(features for _, features in pairs)))
    with figure_style():
        figure = new_figure(3.8 * len(pairs) + 0.6, 4.6)
        panels = figure.subplots(1, len(pairs), sharey=True, squeeze=False)[0]
        for axes, ((labels, features), rows) in zip(panels, pairs.items(), strict=True):
            _panel(axes, rows, threshold, colours[features], own=labels != features)
            axes.set_title(f"labels of {method_label(labels)},\nfeatures of {method_label(features)}")
        panels[0].set_ylabel("precision: right labels (%)")
        marks = {str(mark.get_label()): mark for axes in panels for mark in axes.get_legend_handles_labels()[0]}
        headline(figure, f"Precision of the consensus against confidence, at equal coverage: {_gains(pairs)} points",
                 "The first model labels the same images by both rules; the line ranks pixels by its confidence. The "
                 "consensus keeps the labels that agree with the features of the second model, compared with centroids "
                 "of unlabelled images. A round of self-training starts with one model on both sides and ends with "
                 "adapted features. By class, each at its own coverage: "
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
        axes.plot(*percent["teacher"][0], "^", color=MUTED, markersize=7, label="labels of the feature model")
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
    """Return a Markdown table, one row per (labelling model, feature model).

    Args:
        quality: ``seed``, ``labels_of``, ``features_of``, ``n_images`` and the columns of
            ``label_quality.quality_table``.
    """
    lines = ["| labels of | features of | coverage | consensus | as many most confident | difference "
             "| features' own labels |", "|---|---|---|---|---|---|---|"]
    for (labels, features), rows in quality.groupby(SIDES, sort=False):
        value = rows.pivot(index="seed", columns="rule", values="precision")
        gain = t_interval((value["consensus"] - value["equal"]).tolist())
        coverage = float(rows.loc[rows["rule"] == "consensus", "coverage"].mean())
        mean = {rule: percent(float(value[rule].mean())) for rule in ("consensus", "equal", "teacher")}
        lines.append(f"| {method_label(str(labels))} | {method_label(str(features))} | {percent(coverage)} "
                     f"| {mean['consensus']} | {mean['equal']} "
                     f"| {gain_and_interval(gain.mean, gain.low, gain.high)} | {mean['teacher']} |")
    seeds, images = quality["seed"].nunique(), quality["n_images"].max()
    return "\n".join([*lines, "", f"Means of {seeds} seeds in % of the pixels, differences in points with 95 % "
                                  f"intervals over seeds; {images} test images of the targets, labelled after "
                                  "training. Last column: as many of the most confident labels of the feature model "
                                  "itself."])
