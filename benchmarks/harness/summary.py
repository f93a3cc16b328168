"""The figures that matter, from all stored results, in one table."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from benchmarks.harness.registry import Table
from benchmarks.harness.result import find, read
from benchmarks.harness.tables import MISSING, number

Case = Mapping[str, str | int | float]


@dataclass(frozen=True)
class Measured:
    """One figure of one row of a result.

    Attributes:
        bench: Name of the result.
        case: The row.
        figure: Name of the figure.
        unit: Unit to show.
        factor: From the stored unit to that one.
    """

    bench: str
    case: Case
    figure: str
    unit: str = ""
    factor: float = 1.0

    def text(self, results: Path) -> str:
        """Return the figure with its unit, or "–" if it has not been measured."""
        path = results / f"{self.bench}.json"
        figures = find(read(path), **self.case) if path.is_file() else None
        value = (figures or {}).get(self.figure)
        if value is None:
            return MISSING
        median = value["median"] if isinstance(value, Mapping) else value
        return number(self.factor * float(median), unit=self.unit)


@dataclass(frozen=True)
class Line:
    """A line of the summary: what, our figure, and a figure to compare it with, with its name."""

    what: str
    ours: Measured
    than: str = ""
    other: Measured | None = None


HD: Final = {"resolution": "1920x1080"}
MS, KB = 1e3, 1e-3
LINES: Final = (
    Line(
        "edge SSIM to the content, `auto` ↑",
        Measured("quality", {"method": "mvstylizer"}, "edge_ssim"),
        "MKL",
        Measured("quality", {"method": "MKL"}, "edge_ssim"),
    ),
    Line(
        "distance to the style (relative Gram), `auto` ↓",
        Measured("quality", {"method": "mvstylizer"}, "relative_gram"),
        "MKL",
        Measured("quality", {"method": "MKL"}, "relative_gram"),
    ),
    Line(
        "PSNR under a known grading, `look` ↑",
        Measured("quality", {"method": "lite, look"}, "truth_psnr", "dB"),
        "no change",
        Measured("quality", {"method": "content"}, "truth_psnr", "dB"),
    ),
    Line(
        "key frame on the edge, 1080p ↓",
        Measured("table1", {"model": "mvstylizer", "reply": "map", **HD}, "seconds", "s"),
        "paper's GPU",
        Measured("table1", {"model": "paper: MVStylizer", **HD}, "seconds", "s"),
    ),
    Line(
        "key frame on the device, 1080p ↓",
        Measured("table1", {"model": "lite", "reply": "map", **HD}, "seconds", "s"),
        "`mvstylizer`",
        Measured("table1", {"model": "mvstylizer", "reply": "map", **HD}, "seconds", "s"),
    ),
    Line(
        "frame of a whole run, 1080p, `transfer` ↓",
        Measured("table2", {"way": "transfer, everything", **HD}, "wall_seconds", "ms", MS),
        "`warp`",
        Measured("table2", {"way": "warp, everything", **HD}, "wall_seconds", "ms", MS),
    ),
    Line(
        "speed-up of a whole run, 1080p, every 30th frame ↑",
        Measured("figure5", {"way": "transfer", "interval": 30, **HD}, "everything_counted", "×"),
        "paper, without decoding and encoding",
        Measured("figure5", {"way": "transfer", "interval": 30, **HD}, "paper", "×"),
    ),
    Line(
        "frame next to a key frame, MS-SSIM, 1080p ↑",
        Measured("table4", {"way": "transfer", "distance": 1, **HD}, "ms_ssim"),
        "paper",
        Measured("table4", {"way": "transfer", "distance": 1, **HD}, "paper"),
    ),
    Line(
        "`transfer` kernel, 1080p, one thread ↓",
        Measured("kernels", {"kernel": "transfer, 4:2:0", "threads": 1, **HD}, "seconds", "ms", MS),
        "OpenCV's add + remap",
        Measured("kernels", {"kernel": "opencv", "threads": 1, **HD}, "seconds", "ms", MS),
    ),
    Line(
        "key frame there and back, New York, warm ↓",
        Measured(
            "table5",
            {"place": "New York", "reply": "map", "window": "today's", "connection": "warm", **HD},
            "there_and_back_seconds",
            "ms",
            MS,
        ),
        "as an image",
        Measured(
            "table5",
            {"place": "New York", "reply": "image", "window": "today's", "connection": "warm", **HD},
            "there_and_back_seconds",
            "ms",
            MS,
        ),
    ),
    Line(
        "memory of 3,000 frames ↓",
        Measured("memory", {"frames": 3000}, "peak_mib", "MiB"),
        "300 frames",
        Measured("memory", {"frames": 300}, "peak_mib", "MiB"),
    ),
    Line(
        "failed requests of a 30-minute soak with 50 swaps ↓",
        Measured("soak", {"requests": "map"}, "failures"),
        "requests",
        Measured("soak", {"requests": "map"}, "answers"),
    ),
)


def summary(results: Path) -> Table:
    """Return the table.

    Args:
        results: Folder of the results; what has not been measured is shown as "–".

    Raises:
        ResultError: A result cannot be read.
    """
    rows = [
        [
            line.what,
            line.ours.text(results),
            f"{line.than}: {line.other.text(results)}" if line.other else MISSING,
            f"`bench {line.ours.bench}`",
        ]
        for line in LINES
    ]
    return Table("The figures that matter", ["figure", "measured", "compared with", "command"], rows)
