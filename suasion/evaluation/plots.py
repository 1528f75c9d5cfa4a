"""Plots as inline SVG, by matplotlib, in colours that read on light and on dark ground; the same data, the same bytes.

Given up: interaction. What a plot shows is said in words too, for those who cannot see it.
"""

import io
import re
import warnings
from collections.abc import Callable, Mapping, Sequence
from html import escape
from typing import Any, NamedTuple

import numpy as np

COLOURS = ("#3b7dd8", "#d9822b", "#3a9d5d", "#a45bb8")
MARKERS = ("o", "x")
DOTS = ("o", "s", "^", "D")
MANY = 1000  # points; more are one picture in the drawing, so that a page stays small
STEPS = 400  # points of a line; of more, neighbours are drawn as their mean
LABEL = 40  # characters, half of it where a drawing is narrow
SIZE = (4.2, 2.5)  # inches


class Curve(NamedTuple):
    """A line of points (x, y) and, where it is known, the interval of each."""

    x: Sequence[float]
    y: Sequence[float]
    low: Sequence[float] | None = None
    high: Sequence[float] | None = None


class Dot(NamedTuple):
    """A value and its interval, in the row `label` of a drawing."""

    label: str
    value: float
    low: float
    high: float


def line_plot(lines: Mapping[str, tuple[Sequence[float], Sequence[float]]], *, text: str) -> str:
    """An `<svg>` of named lines, each (x, y) of equal lengths; long noisy ones get a moving mean over them.

    `text` is the alternative for who cannot see it.
    """

    def draw(axes: Any) -> None:
        for (name, line), colour in zip(lines.items(), COLOURS, strict=False):
            x, y = _thinned(*line)
            window = max(1, len(y) // 20)
            if window > 1:
                axes.plot(x, y, color=colour, alpha=0.25, linewidth=1)
            smooth = [sum(y[max(0, at - window + 1) : at + 1]) / min(at + 1, window) for at in range(len(y))]
            axes.plot(x, smooth, color=colour, linewidth=1.8, label=name)
        axes.set_xlabel("step")
        axes.grid(alpha=0.25)

    return _svg(draw, text=text, legend=len(lines) > 1)


def curve_plot(
    curves: Mapping[str, Curve], *, x: str, y: str, text: str, diagonal: bool = False, doubling: bool = False
) -> str:
    """An `<svg>` of named curves with their intervals as bands.

    `diagonal` adds the line on which x and y are equal; `doubling` is for an x that doubles from point to point.
    """

    def draw(axes: Any) -> None:
        if diagonal:
            ends = [min(min(curve.x) for curve in curves.values()), 1]
            axes.plot(ends, ends, color="#b0b0b0", linewidth=1, linestyle="--")
        for (name, curve), colour, marker in zip(curves.items(), COLOURS, DOTS, strict=False):
            few = len(curve.x) <= 12
            axes.plot(
                curve.x, curve.y, color=colour, linewidth=1.8, label=name, marker=marker if few else None, markersize=4
            )
            if curve.low is not None and curve.high is not None:
                axes.fill_between(curve.x, curve.low, curve.high, color=colour, alpha=0.15, linewidth=0)
        if doubling:
            ticks = sorted({tick for curve in curves.values() for tick in curve.x})
            axes.set_xscale("log", base=2)
            axes.set_xticks(ticks, labels=[f"{tick:g}" for tick in ticks])
        axes.set_xlabel(x)
        axes.set_ylabel(y)
        axes.grid(alpha=0.25)

    return _svg(draw, text=text, legend=len(curves) > 1)


def interval_plot(
    groups: Mapping[str, Sequence[Dot]], *, x: str, text: str, marked: float | None = None, wide: bool = False
) -> str:
    """An `<svg>` with a row for every label, and in it a dot with its interval for each group that has one.

    `marked` is a value of x to draw a line at: chance, or no difference.
    """
    labels = [*dict.fromkeys(dot.label for dots in groups.values() for dot in dots)]
    step = 0.62 / max(1, len(groups))

    def draw(axes: Any) -> None:
        if marked is not None:
            axes.axvline(marked, color="#b0b0b0", linewidth=1, linestyle="--")
        for at, ((name, dots), colour, marker) in enumerate(zip(groups.items(), COLOURS, DOTS, strict=False)):
            y = [labels.index(dot.label) + (at - (len(groups) - 1) / 2) * step for dot in dots]
            values = np.array([dot.value for dot in dots])
            ends = np.abs(np.array([[dot.low, dot.high] for dot in dots]).T.reshape(2, -1) - values)
            axes.errorbar(values, y, xerr=ends, fmt=marker, color=colour, markersize=5, linewidth=1.6, label=name)
        axes.set_yticks(range(len(labels)), labels=[_short(label, LABEL if wide else LABEL // 2) for label in labels])
        axes.set_ylim(len(labels) - 0.5, -0.5)
        axes.set_xlabel(x)
        axes.grid(alpha=0.25, axis="x")

    height = 0.75 + len(labels) * max(0.3, 0.16 * len(groups))
    size = (5.0, height) if wide else (SIZE[0], max(1.4, height))
    return _svg(draw, text=text, legend=len(groups) > 1, size=size)


def histogram(groups: Mapping[str, np.ndarray], edges: np.ndarray, *, x: str, y: str, text: str) -> str:
    """An `<svg>` of named groups of values, (n,) each, counted between `edges` (k,) and stacked; empty groups are left out.

    Edges that span more than a factor of 50 stand on a logarithmic axis.
    """
    shown = {name: values for name, values in groups.items() if len(values)}

    def draw(axes: Any) -> None:
        base = np.zeros(len(edges) - 1)
        for (name, values), colour in zip(groups.items(), COLOURS, strict=False):
            if name in shown:
                counts, _ = np.histogram(values, edges)
                axes.stairs(base + counts, edges, baseline=base, fill=True, color=colour, alpha=0.85, label=name)
                base = base + counts
        if edges[0] > 0 and edges[-1] > 50 * edges[0]:
            axes.set_xscale("log")
            axes.xaxis.set_major_formatter("{x:g}")
        axes.yaxis.get_major_locator().set_params(integer=True, nbins=5)
        axes.set_ylim(bottom=0)
        axes.set_xlabel(x)
        axes.set_ylabel(y)
        axes.grid(alpha=0.25, axis="y")

    return _svg(draw, text=text, legend=len(shown) > 1)


def scatter(groups: Mapping[str, tuple[np.ndarray, np.ndarray]], *, x: str, y: str, text: str) -> str:
    """An `<svg>` of named groups of points, each (x, y) of equal lengths, x a share; empty groups are left out."""
    shown = {name: points for name, points in groups.items() if len(points[0])}
    size = sum(len(points[0]) for points in shown.values())

    def draw(axes: Any) -> None:
        for (name, points), colour, marker in zip(groups.items(), COLOURS, MARKERS, strict=False):
            if name in shown:
                few = len(points[0]) <= MANY
                style = {"s": 16, "alpha": 0.8} if few else {"s": 3, "alpha": 0.2, "linewidths": 0}
                axes.scatter(*points, color=colour, marker=marker, label=name, rasterized=size > MANY, **style)
        axes.set_xlim(-0.03, 1.03)
        axes.set_xlabel(x)
        axes.set_ylabel(y)
        axes.grid(alpha=0.25)

    return _svg(draw, text=text, legend=len(shown) > 1)


def _thinned(x: Sequence[float], y: Sequence[float]) -> tuple[list[float], list[float]]:
    """At most `STEPS` points: neighbours are drawn as their mean."""
    size = -(-len(x) // STEPS)
    parts = [slice(start, start + size) for start in range(0, len(x), max(1, size))]
    return [float(np.mean(x[part])) for part in parts], [float(np.mean(y[part])) for part in parts]


def _short(label: str, most: int) -> str:
    return label if len(label) <= most else label[: most - 1] + "…"


def _svg(draw: Callable[[Any], None], *, text: str, legend: bool, size: tuple[float, float] = SIZE) -> str:
    import matplotlib as mpl
    from matplotlib.figure import Figure

    # The salt makes names unlike those of other drawings on the page; a $ in a label of the data begins no formula.
    style = {"svg.hashsalt": text, "svg.fonttype": "none", "font.family": "sans-serif", "text.parse_math": False}
    with mpl.rc_context(style), warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # letters that our font lacks: the browser has others
        figure = Figure(figsize=size, layout="constrained")
        axes = figure.subplots()
        draw(axes)
        for side in ("top", "right"):
            axes.spines[side].set_visible(False)
        if legend:
            names = axes.get_legend_handles_labels()[1]
            columns = 4 if sum(map(len, names)) + 5 * len(names) < 48 else 2
            box = figure.legend(loc="outside upper left", ncols=columns, frameon=False, fontsize=8.5, handletextpad=0.4)
            for handle in filter(None, box.legend_handles):
                handle.set_alpha(1)
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", transparent=True, dpi=150, metadata={"Date": None, "Creator": None})
    svg = buffer.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'<g id="[^"]*"', "<g", svg)  # groups of the same name in every drawing
    # Text and axes take the page's colour, so that one drawing serves light and dark.
    svg = re.sub(r"#(?:000000|262626|b0b0b0)\b", "currentColor", svg)
    return svg.replace("<svg ", f'<svg role="img" aria-label="{escape(text)}" ', 1)
