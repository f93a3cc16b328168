"""Run the whole of `stylize` on a phone: one configuration at a time, compared with this machine's result."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple

import av
import cv2
import numpy as np

from device_runtime.bench.adb import Phone
from device_runtime.bench.benchmark_model import BenchmarkModelError
from device_runtime.bench.phone_mode import TOP_APP
from device_runtime.bench.plan import WidthHeight
from device_runtime.bench.push import FOLDER, push_changed

_RUN_TIMEOUT_S: Final = 3600.0


class PipelineFailedError(BenchmarkModelError):
    """Error raised when `stylize` fails on the phone or here."""


class PipelineConfig(NamedTuple):
    """One configuration, which is one row of the results.

    Attributes:
        width: Width of the clip in pixels.
        height: Height of the clip in pixels.
        interval: Frames from one key frame to the next; 1 stylizes every frame.
        interpolation: ``warp`` or ``transfer``.
    """

    width: int
    height: int
    interval: int
    interpolation: str

    def __str__(self) -> str:
        """For example ``512x256 transfer, every 15``."""
        return f"{self.width}x{self.height} {self.interpolation}, every {self.interval}"


class Likeness(NamedTuple):
    """How the phone's result compares with this machine's: PSNR in dB of the worst frame and of all."""

    frames: int
    min_db: float
    mean_db: float


class PipelineRun(NamedTuple):
    """Result of a run.

    Attributes:
        report: Report of `stylize` on the phone.
        usage: What its process took: ``peak_mb``, ``cpu_s``, and ``process_s`` including loading.
        adb_bytes: Bytes ``pushed`` to the phone for this run and ``pulled`` from it.
        likeness: Comparison with this machine's result.
    """

    report: dict[str, Any]
    usage: dict[str, float]
    adb_bytes: dict[str, int]
    likeness: Likeness


@dataclass(frozen=True)
class PipelineRunner:
    """Runs a clip on one phone.

    Attributes:
        phone: The phone.
        pack: The pack's folder on it.
        style: The style photo.
        where_there: Options that tell the phone where key frames are stylized.
        where_here: The same for this machine.
        crf: H.264 quality of the results.
        work: Folder on this machine for clips and results.
    """

    phone: Phone
    pack: str
    style: Path
    where_there: tuple[str, ...]
    where_here: tuple[str, ...]
    crf: int
    work: Path

    def run(self, config: PipelineConfig, clip: Path) -> PipelineRun:
        """Run one configuration on both machines.

        Args:
            config: The configuration.
            clip: The clip at its resolution.

        Raises:
            PipelineFailedError: One of the runs fails.
            AdbError: The phone disconnects or has no space.
        """
        names = {"clip.mp4": clip, f"style{self.style.suffix}": self.style}
        pushed = sum(names[name].stat().st_size for name in push_changed(self.phone, names))
        report, usage = self._there(config)
        found = self.work / "there.mp4"
        self.phone.pull(f"{FOLDER}/out.mp4", found)
        self.phone.shell(f"rm -f {FOLDER}/out.mp4 {FOLDER}/usage.json")
        moved = {"pushed": pushed, "pulled": found.stat().st_size}
        return PipelineRun(report, usage, moved, compare_videos(found, self._here(config, clip)))

    def _options(self, config: PipelineConfig) -> list[str]:
        policy = ["--key-frames", f"every:{config.interval}", "--interpolation", config.interpolation]
        return [*policy, "--crf", str(self.crf), "--json"]

    def _here(self, config: PipelineConfig, clip: Path) -> Path:
        out = self.work / "here.mp4"
        words = ["stylize", str(clip), "--style", str(self.style), "--out", str(out), *self._options(config)]
        command = [sys.executable, "-m", "mvstylizer_cli", *words, *self.where_here]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise PipelineFailedError(f"stylize fails on this machine: {_last_line(done.stderr)}")
        return out

    def _there(self, config: PipelineConfig) -> tuple[dict[str, Any], dict[str, float]]:
        files = ["clip.mp4", "--style", f"style{self.style.suffix}", "--out", "out.mp4"]
        module = ["-m", "device_runtime.bench.on_phone", "usage.json", "stylize"]
        words = [*module, *files, *self._options(config), *self.where_there]
        line = f"{TOP_APP}cd {FOLDER} && sh {self.pack}/python {shlex.join(words)}"
        done = self.phone.run(line, _RUN_TIMEOUT_S)
        if done.exit_code:
            raise PipelineFailedError(f"stylize fails on the phone: {_last_line(done.stderr or done.stdout)}")
        usage = self.phone.shell(f"cat {FOLDER}/usage.json").stdout
        try:
            return json.loads(done.stdout), json.loads(usage)
        except ValueError as err:
            raise PipelineFailedError(
                f"stylize prints no report on the phone: {_last_line(done.stdout)}"
            ) from err


def scaled_clip(source: Path, size: WidthHeight, frames: int, target: Path) -> Path:
    """Write the first frames of a clip at another size, nearly without loss, without sound.

    Args:
        source: A video.
        size: Width and height in pixels; the picture is cut to this shape, not squeezed.
        frames: Maximum number of frames.
        target: The new clip.

    Raises:
        PipelineFailedError: The video cannot be read.
    """
    width, height = size
    try:
        with av.open(str(source)) as reader, av.open(str(target), "w") as writer:
            rate = reader.streams.video[0].average_rate or 30
            stream = writer.add_stream("libx264", rate=rate, options={"crf": "10", "preset": "fast"})
            stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
            for index, frame in enumerate(reader.decode(video=0)):
                if index == frames:
                    break
                picture = _fitted(frame.to_ndarray(format="rgb24"), width, height)
                writer.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
            writer.mux(stream.encode(None))
    except (av.error.FFmpegError, IndexError, OSError) as err:
        raise PipelineFailedError(
            f"{source} cannot be read as a video", "Choose another --pipeline clip"
        ) from err
    return target


def compare_videos(found: Path, expected: Path) -> Likeness:
    """Return the PSNR of a video against another one, frame by frame.

    Raises:
        PipelineFailedError: They differ in the number or size of their frames.
    """
    values = []
    with av.open(str(found)) as left, av.open(str(expected)) as right:
        try:
            for ours, theirs in zip(left.decode(video=0), right.decode(video=0), strict=True):
                a, b = (frame.to_ndarray(format="rgb24").astype(np.float32) for frame in (ours, theirs))
                values.append(10 * np.log10(255**2 / max(float(np.mean((a - b) ** 2)), 1e-10)))
        except ValueError as err:
            raise PipelineFailedError("The phone's result has other frames than this machine's") from err
    return Likeness(len(values), float(min(values)), float(np.mean(values)))


def _fitted(picture: Any, width: int, height: int) -> Any:
    """Cut a picture to a shape from its middle, and resize it."""
    rows, columns = picture.shape[:2]
    wanted = min(columns, round(rows * width / height)), min(rows, round(columns * height / width))
    left, top = (columns - wanted[0]) // 2, (rows - wanted[1]) // 2
    cut = picture[top : top + wanted[1], left : left + wanted[0]]
    return cv2.resize(cut, (width, height), interpolation=cv2.INTER_AREA)


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1].removeprefix("mvstylizer: ") if lines else "it printed nothing"
