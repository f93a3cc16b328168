"""Plot the curves of a result as SVG that is readable on light and dark pages."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

GRAY = "#7f7f7f"  # readable on light and dark pages

Points = Sequence[tuple[float, float]]


@dataclass(frozen=True)
class Plot:
    """A line plot.

    Attributes:
        title: Title of the plot.
        x_label: Label of the x axis, with its unit.
        y_label: Label of the y axis, with its unit.
        curves: Points by name.
        dashed: Names of dashed curves, such as the paper's.
        colors: Color number by name; curves with the same number share a color.
    """

    title: str
    x_label: str
    y_label: str
    curves: Mapping[str, Points]
    dashed: frozenset[str] = frozenset()
    colors: Mapping[str, int] = field(default_factory=dict)


def svg(plot: Plot) -> str:
    """Return a plot as an SVG document: transparent, with text as text, in gray."""
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context(
        {
            "svg.fonttype": "none",
            "svg.hashsalt": plot.title,
            "text.color": GRAY,
            "axes.labelcolor": GRAY,
            "axes.edgecolor": GRAY,
            "xtick.color": GRAY,
            "ytick.color": GRAY,
            "font.size": 9,
        }
    ):
        figure = Figure(figsize=(7, 4), layout="constrained")
        axes = figure.add_subplot()
        for number, (name, points) in enumerate(plot.curves.items()):
            x, y = zip(*points, strict=True)
            line = "--" if name in plot.dashed else "-"
            color = f"C{plot.colors.get(name, number)}"
            axes.plot(x, y, line, marker="o", markersize=3, label=name, color=color)
        axes.set(title=plot.title, xlabel=plot.x_label, ylabel=plot.y_label)
        axes.grid(alpha=0.3)
        axes.legend(handlelength=3.5, fontsize=7, ncols=2, framealpha=0)
        text = io.StringIO()
        figure.savefig(text, format="svg", transparent=True, metadata={"Date": None})
    return text.getvalue()
