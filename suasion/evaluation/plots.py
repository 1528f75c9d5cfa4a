"""Line plots as inline SVG, by matplotlib, in colours that read on light and on dark ground; the same data, the same bytes."""

import io
import re
from collections.abc import Mapping, Sequence

COLOURS = ("#3b7dd8", "#d9822b", "#3a9d5d", "#a45bb8")


def line_plot(lines: Mapping[str, tuple[Sequence[float], Sequence[float]]]) -> str:
    """An `<svg>` of named lines, each (x, y) of equal lengths; long noisy ones get a moving mean over them."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    with mpl.rc_context({"svg.hashsalt": "suasion", "svg.fonttype": "none", "font.family": "sans-serif"}):
        figure = Figure(figsize=(4.6, 2.5), layout="constrained")
        axes = figure.subplots()
        for (name, (x, y)), colour in zip(lines.items(), COLOURS, strict=False):
            window = max(1, len(y) // 20)
            if window > 1:
                axes.plot(x, y, color=colour, alpha=0.25, linewidth=1)
            smooth = [sum(y[max(0, at - window + 1) : at + 1]) / min(at + 1, window) for at in range(len(y))]
            axes.plot(x, smooth, color=colour, linewidth=1.8, label=name)
        axes.set_xlabel("step")
        axes.grid(alpha=0.25)
        for side in ("top", "right"):
            axes.spines[side].set_visible(False)
        if len(lines) > 1:
            axes.legend(frameon=False, fontsize=8)
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    svg = buffer.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    # Text and axes take the page's colour, so that one drawing serves light and dark.
    return re.sub(r"#(?:000000|262626|b0b0b0)\b", "currentColor", svg).replace('width="', 'role="img" width="', 1)
