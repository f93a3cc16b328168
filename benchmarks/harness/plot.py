"""Curves of a result as a picture that reads on a light and on a dark page."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

Points = Sequence[tuple[float, float]]


@dataclass(frozen=True)
class Plot:
    """Curves over one axis.

    Attributes:
        title: Above the curves.
        x_label: With the unit.
        y_label: With the unit.
        curves: Name → points; those of one colour group share a colour.
        dashed: Names of the curves that are somebody else's, such as the paper's.
        colours: Name → number of the colour; curves of one number share it.
    """

    title: str
    x_label: str
    y_label: str
    curves: Mapping[str, Points]
    dashed: frozenset[str] = frozenset()
    colours: Mapping[str, int] = field(default_factory=dict)


def svg(plot: Plot) -> str:
    """Draw a plot as an SVG document: transparent, text as text, in a grey that both pages carry."""
    import matplotlib
    from matplotlib.figure import Figure

    grey = "#7f7f7f"
    with matplotlib.rc_context({
        "svg.fonttype": "none", "svg.hashsalt": plot.title, "text.color": grey, "axes.labelcolor": grey,
        "axes.edgecolor": grey, "xtick.color": grey, "ytick.color": grey, "font.size": 9,
    }):  # fmt: skip
        figure = Figure(figsize=(7, 4), layout="constrained")
        axes = figure.add_subplot()
        for number, (name, points) in enumerate(plot.curves.items()):
            x, y = zip(*points, strict=True)
            style = "--" if name in plot.dashed else "-"
            colour = f"C{plot.colours.get(name, number)}"
            axes.plot(x, y, style, marker="o", markersize=3, label=name, color=colour)
        axes.set(title=plot.title, xlabel=plot.x_label, ylabel=plot.y_label)
        axes.grid(alpha=0.3)
        axes.legend(handlelength=3.5, fontsize=7, ncols=2, framealpha=0)
        text = io.StringIO()
        figure.savefig(text, format="svg", transparent=True, metadata={"Date": None})
    return text.getvalue()
