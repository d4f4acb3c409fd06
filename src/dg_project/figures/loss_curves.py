"""Chart of the training losses of one or more models by step."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd
from matplotlib.figure import Figure

from dg_project.figures.style import figure_style, headline, method_colours, method_label, new_figure, readable


def loss_curves(histories: Mapping[str, pd.DataFrame], *, window: int = 15, note: str = "") -> Figure:
    """Draw one small panel per loss, and the learning rate last.

    Args:
        histories: ``step``, ``loss_*`` and ``lr`` by method; a method may lack columns.
        window: steps of the running mean; raw values are drawn pale behind it.
        note: appended to the caption.
    """
    losses = list(dict.fromkeys(c for h in histories.values() for c in h.columns if str(c).startswith("loss")))
    panels = [*losses, *(["lr"] if any("lr" in h for h in histories.values()) else [])]
    columns = min(3, len(panels))
    rows = -(-len(panels) // columns)
    colours = method_colours(histories)
    with figure_style():
        figure = new_figure(3.3 * columns + 0.4, 2.05 * rows + 1.0)
        for k, name in enumerate(panels):
            axes = figure.add_subplot(rows, columns, k + 1)
            for method, history in histories.items():
                if name not in history or not history[name].notna().any():
                    continue
                steps, values = history["step"], history[name]
                if name != "lr":
                    axes.plot(steps, values, color=colours[method], alpha=0.18, linewidth=0.7)
                    values = values.rolling(window, min_periods=1, center=True).mean()
                axes.plot(steps, values, color=colours[method], linewidth=1.5, label=method_label(method))
            axes.set_title("learning rate" if name == "lr" else readable(name.removeprefix("loss_")))
            axes.grid()
            axes.set_xlabel("training step")
            if name == "lr":
                axes.ticklabel_format(axis="y", style="sci", scilimits=(-2, 2))
            else:
                axes.set_ylabel("loss")
                axes.set_ylim(bottom=min(0.0, axes.get_ylim()[0]))
        shown = [axes.get_legend_handles_labels() for axes in figure.axes]
        named = {label: handle for handles, labels in shown for handle, label in zip(handles, labels, strict=True)}
        lengths = ", ".join(f"{method_label(m)} {int(h['step'].max())}" for m, h in histories.items())
        headline(figure, "Training losses",
                 f"Running mean over {window} steps; single steps pale. Steps: {lengths}. {note}".strip(),
                 named.values())
    return figure
