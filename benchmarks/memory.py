"""Memory: the peak of `stylize` must not depend on the length of the video."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from benchmarks import footage
from benchmarks.registry import Effort, Say, Table
from benchmarks.result import Figure, Result, Row, find
from benchmarks.text import number
from mvstylizer_errors import MVStylizerError

RESOLUTION: Final = "512x256"
FIGURES: Final = {
    "peak_mib": Figure("MiB", "largest resident memory of a whole `stylize --local` process", "lower", 0.05),
    "of_short": Figure("ratio", "peak_mib / that of the short clip", "lower", 0.05),
}


class StylizeFailedError(MVStylizerError):
    """The process that was watched did not do its job."""


def run(effort: Effort, say: Say, *, lengths: tuple[int, int] | None = None) -> Result:
    """Measure.

    Args:
        effort: How long it may take.
        say: Takes progress.
        lengths: Frames of the short and the long clip; 300 and 3000 if None, fewer when quick.

    Raises:
        StylizeFailedError: A run failed.
    """
    short, long = lengths or effort.pick((300, 3000), (60, 180))
    filmed = footage.frames(footage.clip("bikes"), min(60, long))
    peaks: dict[int, float] = {}
    with tempfile.TemporaryDirectory() as name:
        for frames in (short, long):
            say(f"memory: {frames} frames")
            source = Path(name) / f"{frames}.mp4"
            footage.write_clip(source, footage.to_and_fro(filmed, frames), *footage.size(RESOLUTION))
            peaks[frames] = peak_mib(source)
    rows = [
        Row({"frames": n}, {"peak_mib": peak, "of_short": peak / peaks[short]}) for n, peak in peaks.items()
    ]
    return Result("memory", FIGURES, rows, {"resolution": RESOLUTION, "key_frames": "every:15"})


def peak_mib(source: Path) -> float:
    """Stylize a clip in a process of its own, and return the largest resident memory that it had, in MiB.

    Raises:
        StylizeFailedError: It ended with an error.
    """
    command = [
        sys.executable, "-m", "mvstylizer", "stylize", str(source), "--style", str(footage.STYLE),
        "--out", str(source.with_name("out.mp4")), "--local", "--key-frames", "every:15",
    ]  # fmt: skip
    with (
        tempfile.TemporaryFile() as said,
        subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=said) as process,
    ):
        try:
            _, status, usage = os.wait4(process.pid, 0)  # unlike RUSAGE_CHILDREN, of this child alone
        except BaseException:
            process.terminate()
            raise
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            said.seek(0)
            last = said.read().decode(errors="replace").strip().splitlines()[-1:]
            raise StylizeFailedError(f"stylize ended with {process.returncode}: {''.join(last)}")
    return usage.ru_maxrss / 1024


def tables(document: Mapping[str, Any]) -> list[Table]:
    """Lay a kept result out: one row a length."""
    lengths = [row["case"]["frames"] for row in document["results"]]
    rows = []
    for frames in lengths:
        figures = find(document, frames=frames) or {}
        rows.append([str(frames), number(figures["peak_mib"]), number(figures["of_short"])])
    caption = f"A whole `mvstylizer stylize --local` process at {document['settings']['resolution']}."
    return [Table("Peak memory", ["frames", "peak, MiB", "of the shorter clip's"], rows, caption)]
