"""The whole pipeline on one phone: every configuration run, compared, judged and recorded.

Usage:
    with PipelineSession(phone, pack, clip, style, edge=None, settings=PipelineSettings()) as session:
        for row in session.measure(configs):
            results.append(Path("rows.jsonl"), row)
"""

from __future__ import annotations

import tempfile
import uuid
from collections.abc import Generator, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from device_runtime.bench.adb import Phone
from device_runtime.bench.adb_errors import AdbTimeoutError
from device_runtime.bench.phone import Cooling, PhoneState, read_record, read_state, wait_until_cool
from device_runtime.bench.pipeline_results import SCHEMA
from device_runtime.bench.pipeline_run import (
    PipelineConfig,
    PipelineFailedError,
    PipelineRun,
    PipelineRunner,
    scaled_clip,
)
from device_runtime.bench.push_pack import push_pack
from device_runtime.bench.results import Row, state_row
from device_runtime.bench.verdict import RowVerdict, failed, throttled, worst_of
from device_runtime.pack.pack import Pack
from mvstylizer.bundle import sha256_of

MIN_PSNR_DB: Final = 40.0
"""Of the worst frame: encoders and networks of two architectures round differently, by a gray level."""
_LOOPBACK: Final = ("127.0.0.1", "localhost", "[::1]")


@dataclass(frozen=True)
class PipelineSettings:
    """How to measure.

    Attributes:
        frames: Maximum number of frames of the clip.
        crf: H.264 quality of the results.
        cool_below_c: Battery temperature in °C above which a run waits.
        cool_seconds: Maximum wait for the phone to cool down.
    """

    frames: int = 90
    crf: int = 18
    cool_below_c: float = 35.0
    cool_seconds: float = 600.0


class PipelineSession:
    """A benchmark of `stylize` on a phone; a context manager that leaves nothing but the pack on it.

    Args:
        phone: The phone.
        pack: The pack; copied to the phone unless one of the same content is there.
        clip: The video.
        style: The style photo.
        edge: ``HOST:PORT`` of the edge, or None to run the lite model on the phone. A port of this machine is
            forwarded with ``adb reverse``; the phone connects to any other host by itself.
        settings: How to measure.

    Attributes:
        record: Description of the phone.
        where: ``edge`` or ``local``.
        mode: What `phone_mode.benchmark_mode` put in force, for the rows.

    Raises:
        AdbError: The phone cannot run the pack, or disconnects.
    """

    def __init__(
        self,
        phone: Phone,
        pack: Pack,
        clip: Path,
        style: Path,
        *,
        edge: str | None,
        settings: PipelineSettings,
    ) -> None:
        self.record = read_record(phone)
        self.mode: dict[str, bool] = {}
        self.where = "edge" if edge else "local"
        self._phone, self._pack, self._clip, self._style = phone, pack, clip, style
        self._edge, self._settings = edge, settings
        self._stack = ExitStack()
        self._head = {
            "schema": SCHEMA,
            "run_id": uuid.uuid4().hex,
            "phone": asdict(self.record),
            "pack": {"version": pack.version, "content": pack.content},
            "clip_sha256": sha256_of(clip),
            "style_sha256": sha256_of(style),
        }

    def __enter__(self) -> Self:
        with self._stack:
            self._work = Path(self._stack.enter_context(tempfile.TemporaryDirectory(prefix="mvstylizer-")))
            folder = push_pack(self._phone, self.record, self._pack)
            here, there = self._options()
            self._runner = PipelineRunner(
                self._phone, folder, self._style, there, here, self._settings.crf, self._work
            )
            self._stack = self._stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def _options(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Return the options that say where key frames are stylized, here and on the phone."""
        if self._edge is None:
            return ("--local",), ("--local",)
        host, _, port = self._edge.rpartition(":")
        there = self._edge
        if host in _LOOPBACK:
            there = f"127.0.0.1:{self._stack.enter_context(self._phone.reverse(int(port)))}"
        return ("--edge", self._edge, "--no-fallback"), ("--edge", there, "--no-fallback")

    def matching(self, rows: Sequence[Row]) -> list[Row]:
        """Return the rows of an earlier run that this one would measure again: same phone, pack and files."""
        same = ("pack", "clip_sha256", "style_sha256")
        return [
            row
            for row in rows
            if row["verdict"] != "failed"
            and row["phone"]["serial_hash"] == self.record.serial_hash
            and all(row.get(name) == self._head[name] for name in same)
        ]

    def measure(self, plan: Sequence[PipelineConfig]) -> Generator[Row, None, None]:
        """Yield a row for each configuration as soon as it is measured.

        Raises:
            AdbError: The phone disconnects or its storage is full; rows already yielded are complete.
        """
        for config in plan:
            yield self._row(config)

    def _row(self, config: PipelineConfig) -> Row:
        settings = self._settings
        cooling = wait_until_cool(self._phone, below_c=settings.cool_below_c, seconds=settings.cool_seconds)
        states, run = [cooling.state], None
        try:
            run = self._runner.run(config, self._scaled(config))
            states.append(read_state(self._phone))
            verdict = _judged(run, cooling, states)
        except (PipelineFailedError, AdbTimeoutError) as err:
            verdict = failed(err.message)
        return self._head | {
            "time": datetime.now(UTC).isoformat(timespec="seconds"),
            "mode": self.mode,
            "config": {
                "resolution": [config.width, config.height],
                "interval": config.interval,
                "interpolation": config.interpolation,
                "where": self.where,
                "crf": settings.crf,
            },
            **_figures(run),
            "states": [state_row(state) for state in states],
            "cooling": {"waited_s": cooling.waited_s, "cool": cooling.cool},
            "verdict": verdict.name,
            "reasons": list(verdict.reasons),
        }

    def _scaled(self, config: PipelineConfig) -> Path:
        target = self._work / f"clip-{config.width}x{config.height}.mp4"
        if not target.is_file():
            size = (config.width, config.height)
            scaled_clip(self._clip, size, self._settings.frames, target)
        return target


def _judged(run: PipelineRun, cooling: Cooling, states: Sequence[PhoneState]) -> RowVerdict:
    reasons = throttled(cooling.cool, states, ())
    if run.likeness.min_db < MIN_PSNR_DB:
        text = f"a frame differs from this machine's: {run.likeness.min_db:.1f} dB, below {MIN_PSNR_DB:.0f}"
        reasons.append(("wrong", text))
    return worst_of(reasons)


def _figures(run: PipelineRun | None) -> dict[str, Any]:
    report = run.report if run else {}
    return {
        "frames": report.get("frames", 0),
        "key_frames": report.get("key_frames", 0),
        "seconds": report.get("seconds", {}),
        "bytes_sent": report.get("bytes_sent", 0),
        "bytes_received": report.get("bytes_received", 0),
        "usage": run.usage if run else {},
        "adb_bytes": run.adb_bytes if run else {},
        "likeness": run.likeness._asdict() if run else None,
    }
