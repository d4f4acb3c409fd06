"""Labels that two sides agree on beside labels above a confidence: how many pixels get one, and how many are right."""

from __future__ import annotations

from math import isnan

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from dg_project.figures.style import MUTED, headline, look, method_colours, method_label, new_figure


def label_precision(quality: pd.DataFrame, threshold: float, images: str) -> Figure:
    """Draw precision over coverage, one panel per model.

    Args:
        quality: ``model`` and the columns of ``label_quality.quality_table``.
        threshold: confidence of the rule ``threshold``.
        images: what was labelled, for the caption.
    """
    models = [str(name) for name in dict.fromkeys(quality["model"])]
    colours = method_colours(models)
    with look():
        figure = new_figure(4.4 * len(models) + 0.6, 4.3)
        panels = figure.subplots(1, len(models), sharey=True, squeeze=False)[0]
        for axes, name in zip(panels, models, strict=True):
            _panel(axes, quality[quality["model"] == name], threshold, colours[name])
            axes.set_title(method_label(name))
        panels[0].set_ylabel("precision: right labels (%)")
        headline(figure, _title(quality, models),
                 "Every model labels the same images by both rules; the line ranks pixels by their confidence. The "
                 "consensus is measured as a round of self-training would begin with that model, and its centroids "
                 "come from unlabelled images. Class by class, each at its own coverage: "
                 f"{_gains(quality, models, '_by_class')}. Labelled here: {images}.",
                 panels[0].get_legend_handles_labels()[0])
    return figure


def _panel(axes: Axes, rows: pd.DataFrame, threshold: float, colour: str) -> None:
    percent = {str(rule): 100 * part[["coverage", "precision"]].to_numpy() for rule, part in rows.groupby("rule")}
    (x, y), (_, equal) = percent["consensus"][0], percent["equal"][0]
    axes.plot(*percent["curve"].T, color=MUTED, linewidth=1.3, label="most confident first")
    axes.plot([x, x], [equal, y], color=colour, linewidth=1, linestyle=":")
    axes.plot(*percent["threshold"][0], "s", color=MUTED, markersize=7, label=f"confidence {threshold:g} or more")
    axes.plot(x, y, "o", color=colour, markersize=8, label="consensus")
    if not isnan(y):
        axes.annotate(f"{y - equal:+.1f}", (x, (y + equal) / 2), xytext=(6, 0), textcoords="offset points",
                      va="center", fontsize=8.5)
    axes.set_xlabel("coverage: pixels with a label (%)")
    axes.set_xlim(0, 103)
    axes.grid()


def _title(quality: pd.DataFrame, models: list[str]) -> str:
    return f"Precision of the consensus against confidence, at equal coverage: {_gains(quality, models)}"


def _gains(quality: pd.DataFrame, models: list[str], means: str = "") -> str:
    value = quality.drop_duplicates(["model", "rule"]).set_index(["model", "rule"])["precision"]
    gains = {method_label(name): 100 * (value[name, f"consensus{means}"] - value[name, f"equal{means}"])
             for name in models}
    return ", ".join(f"{'no label' if isnan(gain) else f'{gain:+.1f} points'} ({name})" for name, gain in gains.items())
