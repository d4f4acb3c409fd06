"""Chart of the channels of one stage in versions of a scene: feature maps, entropies and gates."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from dg_project.figures.style import MUTED, bare, figure_style, headline, new_figure, readable, tight

Array = NDArray[Any]


def gate_maps(images: Sequence[Array], names: Sequence[str], features: Array, entropy: Array, gate: Array | None, *,
              stage: str, channels: int = 2) -> Figure:
    """Draw one row per version of a scene, and below them the entropy and gate of every channel as strips.

    Args:
        images: V images (H, W, 3).
        names: names of the versions.
        features: (V, C, h, w) of the stage.
        entropy: (V, C), 0 to 1.
        gate: (V, C), 0 to 1, or None if the method has none.
        stage: name of the stage.
        channels: number of most focused, and of most diffuse, channels to show.
    """
    focused, diffuse = _extremes(features, entropy, channels)
    strips = {"entropy e": entropy} | ({} if gate is None else {"gate A": gate})
    order = np.argsort(entropy.mean(0))
    columns = _columns(features, entropy, gate, focused, diffuse)
    width, count = 1.32, len(images)
    height = width * images[0].shape[0] / images[0].shape[1]
    with figure_style():
        figure = new_figure(width * (1 + len(columns)) + 1.1,
                            (height + 0.05) * count + len(strips) * (0.16 * count + 0.42) + 1.5)
        tight(figure)
        heights = [(height + 0.05) * count + 0.3, len(strips) * (0.16 * count + 0.42)]
        upper, lower = np.asarray(figure.subfigures(2, 1, height_ratios=heights))
        cells = upper.subplots(count, 1 + len(columns), squeeze=False)
        for v, (image, name) in enumerate(zip(images, names, strict=True)):
            _image(cells[v, 0], image, name)
            for axes, (title, maps) in zip(cells[v, 1:], columns, strict=True):
                _map(axes, maps, v, image.shape, title if v == 0 else "")
        for axes, (title, values) in zip(np.atleast_1d(lower.subplots(len(strips), 1)), strips.items(), strict=True):
            _strip(axes, values[:, order], title, names, figure)
        headline(figure, _title(stage, entropy, gate), _caption(gate is not None, features.shape[1]))
    return figure


def _extremes(features: Array, entropy: Array, count: int) -> tuple[Array, Array]:
    """Return the indices of the most focused and the most diffuse channels; constant channels are skipped."""
    alive = np.flatnonzero(features.std((2, 3)).min(0) > 1e-3 * features.std())
    order = alive[np.argsort(entropy.mean(0)[alive])]
    return order[:count], order[max(count, len(order) - count):]


def _columns(features: Array, entropy: Array, gate: Array | None, focused: Array,
             diffuse: Array) -> list[tuple[str, Array]]:
    """Return title and maps (V, h, w) of each column."""
    size = np.abs(features)
    columns = [("all channels", size.mean(1))]
    if gate is not None:
        columns.append(("shared share", (gate[..., None, None] * size).sum(1) / np.maximum(size.sum(1), 1e-9)))
    for kind, chosen in (("focused", focused), ("diffuse", diffuse)):
        for c in chosen:
            says = f"e {entropy[:, c].mean():.2f}" + ("" if gate is None else f", A {gate[:, c].mean():.2f}")
            columns.append((f"{kind}\n{says}", features[:, c]))
    return columns


def _image(axes: Axes, image: Array, name: str) -> None:
    bare(axes)
    axes.imshow(image, interpolation="antialiased", aspect="auto")
    axes.set_ylabel(readable(name).replace(" ", "\n", 1), fontsize=7, rotation=0, ha="right", va="center", labelpad=4)


def _map(axes: Axes, maps: Array, v: int, shape: tuple[int, ...], title: str) -> None:
    """Draw the map of one version on the colour scale shared by the column."""
    bare(axes)
    low, high = np.quantile(maps, [0.01, 0.99])
    axes.imshow(maps[v], cmap="viridis", vmin=low, vmax=max(high, low + 1e-9), interpolation="nearest", aspect="auto",
                extent=(0, shape[1], shape[0], 0))
    if title:
        axes.set_title(title, fontsize=7, loc="center", fontweight="normal")


def _strip(axes: Axes, values: Array, title: str, names: Sequence[str], figure: Figure) -> None:
    """Draw values (V, C) as one strip of colours per version."""
    low, high = float(values.min()), float(values.max())
    shown = axes.imshow(values, cmap="cividis", aspect="auto", interpolation="nearest", vmin=low,
                        vmax=max(high, low + 1e-6))
    axes.set_title(title, fontsize=8)
    axes.set_yticks(range(len(names)), [readable(name).replace("\n", " ") for name in names], fontsize=6)
    axes.set_xticks([])
    axes.tick_params(length=0)
    bar = figure.colorbar(shown, ax=axes, fraction=0.02, pad=0.01)
    bar.ax.tick_params(labelsize=6, color=MUTED)


def _title(stage: str, entropy: Array, gate: Array | None) -> str:
    title = f"{readable(stage)}: channel entropy {entropy.min():.2f} to {entropy.max():.2f}"
    if gate is None:
        return title
    return f"{title}, gate {gate.min():.2f} to {gate.max():.2f}, correlation {_correlation(entropy, gate):+.2f}"


def _correlation(entropy: Array, gate: Array) -> float:
    if entropy.std() < 1e-9 or gate.std() < 1e-9:
        return 0.0
    return float(np.corrcoef(entropy.ravel(), gate.ravel())[0, 1])


def _caption(gated: bool, channels: int) -> str:
    text = (f"Rows: versions of a scene. Columns: mean size of all {channels} channels, then the channels of lowest "
            "(focused) and highest (diffuse) entropy e; one colour scale per column. Strips: every channel, sorted by "
            "entropy.")
    return text + (" A: the part of a channel that counts as shared between domains." if gated else "")
