"""Plots as inline SVG, by matplotlib, in colours that read on light and on dark ground; the same data, the same bytes.

Given up: interaction. What a plot shows is said in words too, for those who cannot see it.
"""

import io
import re
from collections.abc import Callable, Mapping, Sequence
from html import escape
from typing import Any

import numpy as np

COLOURS = ("#3b7dd8", "#d9822b", "#3a9d5d", "#a45bb8")
MARKERS = ("o", "x")
MANY = 1000  # points; more are one picture in the drawing, so that a page stays small


def line_plot(lines: Mapping[str, tuple[Sequence[float], Sequence[float]]], *, text: str) -> str:
    """An `<svg>` of named lines, each (x, y) of equal lengths; long noisy ones get a moving mean over them.

    `text` is the alternative for who cannot see it.
    """

    def draw(axes: Any) -> None:
        for (name, (x, y)), colour in zip(lines.items(), COLOURS, strict=False):
            window = max(1, len(y) // 20)
            if window > 1:
                axes.plot(x, y, color=colour, alpha=0.25, linewidth=1)
            smooth = [sum(y[max(0, at - window + 1) : at + 1]) / min(at + 1, window) for at in range(len(y))]
            axes.plot(x, smooth, color=colour, linewidth=1.8, label=name)
        axes.set_xlabel("step")
        axes.grid(alpha=0.25)

    return _svg(draw, text=text, legend=len(lines) > 1)


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


def _svg(draw: Callable[[Any], None], *, text: str, legend: bool) -> str:
    import matplotlib as mpl
    from matplotlib.figure import Figure

    with mpl.rc_context({"svg.hashsalt": "suasion", "svg.fonttype": "none", "font.family": "sans-serif"}):
        figure = Figure(figsize=(4.2, 2.5), layout="constrained")
        axes = figure.subplots()
        draw(axes)
        for side in ("top", "right"):
            axes.spines[side].set_visible(False)
        if legend:
            box = figure.legend(loc="outside upper left", ncols=4, frameon=False, fontsize=8.5, handletextpad=0.4)
            for handle in filter(None, box.legend_handles):
                handle.set_alpha(1)
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", transparent=True, dpi=150, metadata={"Date": None, "Creator": None})
    svg = buffer.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    # Text and axes take the page's colour, so that one drawing serves light and dark.
    svg = re.sub(r"#(?:000000|262626|b0b0b0)\b", "currentColor", svg)
    return svg.replace("<svg ", f'<svg role="img" aria-label="{escape(text)}" ', 1)
