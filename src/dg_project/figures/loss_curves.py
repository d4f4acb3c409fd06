"""Chart of the validation score and the training losses of one or more models by step."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from dg_project.evaluation.formatting import percent
from dg_project.figures.style import figure_style, headline, method_colours, method_label, new_figure, readable

VALIDATION, TOTAL, RATE = "validation", "loss", "lr"
RULES = ("source_val", "leave_one_pseudo_out")
"""Selection rules that validate; the scores are in the column of that name."""


def loss_curves(histories: Mapping[str, pd.DataFrame], chosen: Mapping[str, int] | None = None, *, window: int = 15,
                note: str = "") -> Figure:
    """Draw the validation score with the chosen step, the total loss, its parts, and the learning rate.

    Args:
        histories: ``step``, ``loss*``, ``lr`` and the column of the selection rule by method; some may lack columns.
        chosen: step whose weights were kept, by method.
        window: steps of the running mean; raw values are drawn pale behind it.
        note: appended to the caption.
    """
    chosen = chosen or {}
    panels = _panels(histories)
    columns = min((4, 3), key=lambda n: (-len(panels) % n, -n)) if len(panels) > 4 else len(panels)
    rows = -(-len(panels) // columns)
    colours = method_colours(histories)
    with figure_style():
        figure = new_figure(11.6 if columns > 2 else 7.0, 2.2 * rows + 1.1)
        for k, name in enumerate(panels):
            axes = figure.add_subplot(rows, columns, k + 1)
            for method, history in histories.items():
                if name == VALIDATION:
                    _validation(axes, history, chosen.get(method), colours[method])
                elif name in history and history[name].notna().any():
                    _curve(axes, history["step"], history[name], colours[method], window if name != RATE else 1)
            _label(axes, name)
        lengths = ", ".join(f"{method_label(m)} {int(h['step'].max())}" for m, h in histories.items())
        headline(figure, _title(histories, chosen),
                 f"Losses: running mean over {window} steps, single steps pale. Ring: the validation whose weights are "
                 f"kept. Steps: {lengths}. {note}".strip(),
                 [Line2D([], [], color=colours[name], label=method_label(name)) for name in histories])
    return figure


def _panels(histories: Mapping[str, pd.DataFrame]) -> list[str]:
    names = list(dict.fromkeys(str(c) for history in histories.values() for c in history.columns))
    parts = [name for name in names if name.startswith("loss_")]
    return [*([VALIDATION] if any(validated(history) is not None for history in histories.values()) else []),
            *([TOTAL] if TOTAL in names and len(parts) > 1 else []), *parts, *([RATE] if RATE in names else [])]


def validated(history: pd.DataFrame) -> pd.Series | None:
    """Return the validation score by step; None if the weights were not chosen by one."""
    rule = next((name for name in RULES if name in history), None)
    scores = history.set_index("step")[rule].dropna() if rule else None
    return None if scores is None or scores.empty else scores


def _validation(axes: Axes, history: pd.DataFrame, chosen: int | None, colour: str) -> None:
    if (scores := validated(history)) is None:
        return
    axes.plot(scores.index, 100 * scores, color=colour, linewidth=1.5, marker=".", markersize=5)
    if chosen is not None and chosen in scores.index:
        axes.plot(chosen, 100 * scores[chosen], marker="o", markersize=9, fillstyle="none", color=colour)


def _curve(axes: Axes, steps: pd.Series, values: pd.Series, colour: str, window: int) -> None:
    if window > 1:
        axes.plot(steps, values, color=colour, alpha=0.18, linewidth=0.7)
        values = values.rolling(window, min_periods=1, center=True).mean()
    axes.plot(steps, values, color=colour, linewidth=1.5)


def _label(axes: Axes, name: str) -> None:
    titles = {VALIDATION: "validation on the source (%)", TOTAL: "total loss", RATE: "learning rate"}
    axes.set_title(titles.get(name, readable(name.removeprefix("loss_"))))
    axes.grid()
    axes.set_xlabel("training step")
    if name == RATE:
        axes.ticklabel_format(axis="y", style="sci", scilimits=(-2, 2))
    elif name == VALIDATION:
        axes.margins(y=0.25)
    else:
        axes.set_ylim(bottom=min(0.0, axes.get_ylim()[0]))


def _title(histories: Mapping[str, pd.DataFrame], chosen: Mapping[str, int]) -> str:
    """Say which validation was chosen, and of which models it was the last one and the best."""
    scores = {name: own for name, history in histories.items() if (own := validated(history)) is not None}
    told = [f"{method_label(name)} {percent(float(own[chosen[name]]))} at step {chosen[name]}"
            for name, own in scores.items() if chosen.get(name) in own.index]
    if not told:
        return "Training losses"
    rising = [method_label(name) for name, own in scores.items()
              if len(own) > 1 and chosen.get(name) == own.idxmax() == own.index[-1]]
    named = "all" if len(rising) == len(told) > 1 else ", ".join(rising)
    more = f"; {named} still rising at the last step" if rising else ""
    return f"Weights chosen by validation on the source: {', '.join(told)}{more}"
