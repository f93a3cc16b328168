"""Plot benchmark rows: milliseconds per invocation by resolution, delegate and threads."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from device_runtime.bench.results import ResultsError, Row


def save_plot(rows: Sequence[Row], path: Path) -> None:
    """Draw a panel per kernel: a bar for the mean of each row, marks at its p50 and p95.

    Bars of invalid rows are hatched and labeled with their verdict; rows without figures have no bar.

    Args:
        rows: Rows of one phone.
        path: The picture; its suffix selects the format (.png, .svg, .pdf).

    Raises:
        ResultsError: The file cannot be written, or its suffix is unknown.
    """
    measured = [row for row in rows if row["latency_us"]]
    kernels = list(dict.fromkeys(row["config"]["kernel"] for row in measured))
    figure = Figure(figsize=(10, 3 * max(1, len(kernels))), layout="constrained")
    for number, kernel in enumerate(kernels, 1):
        axes = figure.add_subplot(len(kernels), 1, number)
        _panel(axes, kernel, [row for row in measured if row["config"]["kernel"] == kernel])
    phone = rows[0]["phone"]
    figure.suptitle(f"{phone['model']} ({phone['soc']}), Android {phone['android']}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, dpi=150, format=path.suffix[1:])
    except (OSError, ValueError) as err:
        raise ResultsError(f"Cannot draw {path}: {err}", "Use a .png, .svg or .pdf file") from err


def _panel(axes: Axes, kernel: str, rows: Sequence[Row]) -> None:
    sizes = list(dict.fromkeys(_size(row) for row in rows))
    lanes = list(dict.fromkeys(_lane(row) for row in rows))
    width = 0.8 / len(lanes)
    for number, lane in enumerate(lanes):
        bars = [row for row in rows if _lane(row) == lane]
        places = [sizes.index(_size(row)) + (number - (len(lanes) - 1) / 2) * width for row in bars]
        heights = [row["latency_us"]["mean"] / 1000 for row in bars]
        drawn = axes.bar(places, heights, width * 0.95, label=lane, color=f"C{number}")
        for bar, place, row in zip(drawn, places, bars, strict=True):
            marks = [row["latency_us"][name] for name in ("p50", "p95") if row["latency_us"][name]]
            axes.plot([place] * len(marks), [mark / 1000 for mark in marks], "k_-", linewidth=1)
            if row["verdict"] != "valid":
                bar.set_hatch("//")
                axes.annotate(row["verdict"], (place, 0), rotation=90, ha="center", va="bottom", fontsize=7)
    axes.set_xticks(range(len(sizes)), sizes)
    axes.set_ylabel("ms per invocation")
    axes.set_title(kernel)
    axes.legend(fontsize=7, ncols=4)


def _size(row: Row) -> str:
    width, height = row["config"]["resolution"]
    return f"{width}x{height}"


def _lane(row: Row) -> str:
    return f"{row['config']['delegate']} {row['config']['threads']}"
