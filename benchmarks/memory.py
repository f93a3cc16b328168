"""Memory: peak of `stylize`, which must not depend on video length, and peak for one picture."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import cv2

from benchmarks.data import footage, paper
from benchmarks.data.models import shipped
from benchmarks.harness.registry import Budget, Progress, Table
from benchmarks.harness.result import Figure, Result, Row, find
from benchmarks.harness.tables import number
from mvstylizer.errors import MVStylizerError

RESOLUTION: Final = "512x256"
POLL_S: Final = 0.01
FIGURES: Final = {
    "peak_mib": Figure("MiB", "peak resident memory of a `stylize --local` process", "lower", 0.05),
    "of_short": Figure("ratio", "peak_mib / peak_mib of the short clip", "lower", 0.05),
}


class StylizeFailedError(MVStylizerError):
    """The measured process failed."""


def run(
    budget: Budget,
    progress: Progress,
    *,
    lengths: tuple[int, int] | None = None,
    resolutions: Sequence[str] | None = None,
) -> Result:
    """Measure.

    Args:
        budget: Time budget.
        progress: Receives lines of progress.
        lengths: Frames of the short and the long clip; defaults to 300 and 3000, or fewer if quick.
        resolutions: Sizes of single pictures; defaults to the paper's, or to the largest of them if quick.

    Raises:
        StylizeFailedError: A run failed.
    """
    short, long = lengths or budget.pick((300, 3000), (30, 90))
    filmed = footage.frames(footage.clip("bikes"), min(60, long))
    peaks: dict[int, float] = {}
    rows = []
    with tempfile.TemporaryDirectory() as name:
        for frames in (short, long):
            progress(f"memory: {frames} frames")
            source = Path(name) / f"{frames}.mp4"
            footage.write_clip(source, footage.back_and_forth(filmed, frames), *footage.size(RESOLUTION))
            peaks[frames] = peak_mib(source, ["--key-frames", "every:15"])
        for resolution in resolutions or budget.pick(paper.RESOLUTIONS, paper.ENDS[1:]):
            source = Path(name) / f"{resolution}.png"
            picture = footage.fitted(filmed[0], *footage.size(resolution))
            cv2.imwrite(str(source), picture[..., ::-1])
            for model in shipped():
                progress(f"memory: {model.name}, {resolution}")
                peak = peak_mib(source, ["--bundle", str(model.path)])
                rows.append(Row({"model": model.name, "resolution": resolution}, {"peak_mib": peak}))
    rows[:0] = [
        Row({"frames": n}, {"peak_mib": peak, "of_short": peak / peaks[short]}) for n, peak in peaks.items()
    ]
    return Result("memory", FIGURES, rows, {"resolution": RESOLUTION, "key_frames": "every:15"})


def peak_mib(source: Path, options: Sequence[str] = ()) -> float:
    """Stylize a clip or photo in its own process and return its peak resident memory, in MiB.

    The kernel's high-water mark is polled while the process runs: the value of `wait4` includes the memory of
    the parent before `exec` (Linux, `exec_mmap`).

    Raises:
        StylizeFailedError: The process failed.
    """
    command = [
        *(sys.executable, "-m", "mvstylizer_cli", "stylize", str(source), "--local"),
        *("--style", str(footage.STYLE), "--out", str(source.with_name(f"out{source.suffix}"))),
        *options,
    ]
    peak = 0.0
    with (
        tempfile.TemporaryFile() as errors,
        subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=errors) as process,
    ):
        try:
            while process.poll() is None:
                peak = max(peak, _mark_mib(process.pid))
                time.sleep(POLL_S)
        except BaseException:
            process.terminate()
            raise
        if process.returncode:
            errors.seek(0)
            last = errors.read().decode(errors="replace").strip().splitlines()[-1:]
            raise StylizeFailedError(f"stylize exited with status {process.returncode}: {''.join(last)}")
    return peak


def _mark_mib(pid: int) -> float:
    """Return the high-water mark of a process's resident memory, in MiB; 0 if it is exiting."""
    status = Path(f"/proc/{pid}/status").read_text()
    marks = [line.split()[1] for line in status.splitlines() if line.startswith("VmHWM:")]
    return int(marks[0]) / 1024 if marks else 0.0


def tables(document: Mapping[str, Any]) -> list[Table]:
    """Return a table of clips by length, and one of single pictures."""
    cases = [row["case"] for row in document["results"]]
    models = list(dict.fromkeys(case["model"] for case in cases if "model" in case))
    resolutions = list(dict.fromkeys(case["resolution"] for case in cases if "model" in case))
    clips = []
    for frames in (case["frames"] for case in cases if "frames" in case):
        figures = find(document, frames=frames) or {}
        clips.append([str(frames), number(figures["peak_mib"]), number(figures["of_short"])])
    return [
        Table(
            "Peak memory by video length",
            ["frames", "peak, MiB", "/ shorter clip"],
            clips,
            f"Whole `mvstylizer stylize --local` process at {document['settings']['resolution']}.",
        ),
        Table(
            "Peak memory of one picture",
            ["model, MiB", *resolutions],
            [[model, *(_picture_mib(document, model, each) for each in resolutions)] for model in models],
            "Whole `mvstylizer stylize PHOTO --local` process, including Python and its libraries.",
        ),
    ]


def _picture_mib(document: Mapping[str, Any], model: str, resolution: str) -> str:
    figures = find(document, model=model, resolution=resolution) or {}
    return number(figures.get("peak_mib"))
