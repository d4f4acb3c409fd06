"""Small charts inside the report, as SVG: sharp at every size, with text that follows the page's colours."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup

from dg_project.figures.style import method_colours, method_label

LABELS, PLOT, GAINS, ROW = 152, 174, 50, 26
"""Widths of the three columns of the dumbbell chart, and the height of a row, in its own units."""


@dataclass(frozen=True)
class Dumbbell:
    """One row of the chart.

    Attributes:
        label: name of the domain.
        values: method -> score in percent, the baseline first; methods that were not run are left out.
        gain: text at the end of the row, or "".
        verdict: ``ahead``, ``level`` or ``behind``: the CSS class of the gain.
    """

    label: str
    values: Mapping[str, float]
    gain: str = ""
    verdict: str = "level"


def dumbbells(rows: Sequence[Dumbbell]) -> Markup:
    """Return a chart with one line per row: a dot per method, joined, and the gain of the last one."""
    methods = list(dict.fromkeys(name for row in rows for name in row.values))
    colours = method_colours(methods)
    top = max((value for row in rows for value in row.values.values()), default=1.0)
    parts = [_dumbbell(row, number, PLOT / max(top, 1e-9), colours) for number, row in enumerate(rows)]
    return _svg(LABELS + PLOT + GAINS, ROW * len(rows), parts, "Score of each method in each domain, in percent")


def _dumbbell(row: Dumbbell, number: int, scale: float, colours: Mapping[str, str]) -> Markup:
    y = ROW * number + ROW / 2
    places = {name: LABELS + 12 + (PLOT - 24) * value * scale / PLOT for name, value in row.values.items()}
    line = Markup('<line x1="{:.1f}" x2="{:.1f}" y1="{:.1f}" y2="{:.1f}" class="join"/>').format(
        min(places.values()), max(places.values()), y, y) if places else Markup()
    dots = Markup().join(
        Markup('<circle cx="{:.1f}" cy="{:.1f}" r="5" fill="{}"><title>{} {:.1f}</title></circle>').format(
            x, y, colours[name], method_label(name), row.values[name]) for name, x in places.items())
    label = Markup('<text x="{}" y="{:.1f}" text-anchor="end">{}</text>').format(LABELS - 4, y + 4.5, row.label)
    gain = Markup('<text x="{}" y="{:.1f}" class="{}">{}</text>').format(LABELS + PLOT + 8, y + 4.5, row.verdict,
                                                                        row.gain)
    return Markup('<g>{}{}{}{}</g>').format(label, line, dots, gain)


def precision_recall_chart(curves: Mapping[str, Sequence[float]]) -> Markup:
    """Return the precision over recall of each method.

    Args:
        curves: method -> precision at equally spaced recall levels from 0 to 1.
    """
    left, top, width, height = 34, 8, 256, 180
    colours = method_colours(curves)
    ticks = [Markup('<line class="grid" x1="{0}" x2="{1}" y1="{2:.1f}" y2="{2:.1f}"/><text x="{3}" y="{4:.1f}" '
                    'text-anchor="end">{5}</text>').format(left, left + width, top + height * (1 - t), left - 5,
                                                           top + height * (1 - t) + 4, f"{100 * t:.0f}")
             for t in (0, 0.5, 1)]
    ticks += [Markup('<text x="{:.1f}" y="{}" text-anchor="middle">{:.0f}</text>').format(
        left + width * t, top + height + 15, 100 * t) for t in (0.5, 1)]
    lines = []
    for name, precision in curves.items():
        x = left + width * np.linspace(0, 1, len(precision))
        y = top + height * (1 - np.asarray(precision))
        points = " ".join(f"{a:.1f},{b:.1f}" for a, b in zip(x, y, strict=True))
        lines.append(Markup('<polyline points="{}" stroke="{}"><title>{}</title></polyline>').format(
            points, colours[name], method_label(name)))
    axis = Markup('<text x="{}" y="{}" text-anchor="middle">recall, %</text>').format(left + width / 2,
                                                                                     top + height + 30)
    return _svg(left + width + 10, top + height + 36, [*ticks, *lines, axis],
                "Precision in percent over recall of each method")


def legend(methods: Sequence[str]) -> Markup:
    """Return the names of methods with their colours, as HTML."""
    entries = Markup().join(Markup('<span><i style="background:{}"></i>{}</span>').format(colour, method_label(name))
                            for name, colour in method_colours(methods).items())
    return Markup('<p class="legend">{}</p>').format(entries)


def _svg(width: float, height: float, parts: Sequence[Markup], label: str) -> Markup:
    return Markup('<svg viewBox="0 0 {} {}" role="img" aria-label="{}">{}</svg>').format(
        width, height, label, Markup().join(parts))
