"""A job in its own thread: progress, result and cancellation."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, Final, Literal

from device_runtime.pipeline import Progress
from device_runtime.report import Report
from mvstylizer.errors import MVStylizerError

State = Literal["running", "done", "failed", "cancelled"]
END_TIMEOUT_S: Final = 20.0

_log = logging.getLogger(__name__)


class _CancelledError(Exception):
    """Unwinds the pipeline, which removes its partial output."""


@dataclass(frozen=True)
class Status:
    """Status of a job.

    Attributes:
        state: Whether it is running, or how it ended.
        done: Number of finished frames.
        total: Estimated number of frames; None = unknown.
        seconds: Time since the start, or total duration.
        cancelling: Whether it was cancelled but has not ended yet.
        error: One line, if the job failed.
        report: `Report.as_dict`, if the job is done.
    """

    state: State
    done: int
    total: int | None
    seconds: float
    cancelling: bool
    error: str = ""
    report: dict[str, Any] | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return the fields as JSON-serializable values."""
        return asdict(self)


class Job:
    """Runs `work` in a thread, starting immediately.

    Args:
        work: Stylizes, and calls its argument after each frame.
        line: Formats an error that the user can fix.
    """

    def __init__(self, work: Callable[[Progress], Report], line: Callable[[MVStylizerError], str]) -> None:
        self._work = work
        self._line = line
        self._began = time.monotonic()
        self._ended: float | None = None
        self._cancel = threading.Event()
        self._state: State = "running"
        self._done, self._total = 0, None  # type: tuple[int, int | None]
        self._error = ""
        self._report: Report | None = None
        # A daemon: an edge that does not answer must not delay the end of the program.
        self._thread = threading.Thread(target=self._run, name="studio-job", daemon=True)
        self._thread.start()

    @property
    def is_running(self) -> bool:
        """Whether it has not ended yet."""
        return self._state == "running"

    @property
    def status(self) -> Status:
        """Current status."""
        state, until = self._state, self._ended or time.monotonic()
        return Status(
            state,
            self._done,
            self._total,
            round(until - self._began, 2),
            state == "running" and self._cancel.is_set(),
            self._error,
            self._report.as_dict() if self._report else None,
        )

    def cancel(self) -> None:
        """Cancel the job after the current frame; does not wait."""
        self._cancel.set()

    def wait(self) -> None:
        """Wait until it has ended, up to a timeout."""
        self._thread.join(END_TIMEOUT_S)

    def _run(self) -> None:
        try:
            self._report = self._work(self._progress)
            state: State = "done"
        except _CancelledError:
            state = "cancelled"
        except MVStylizerError as error:
            state, self._error = "failed", self._line(error)
        except Exception as error:  # a bug: report it and keep the page running
            _log.exception("a job failed")
            state, self._error = "failed", f"Internal error ({type(error).__name__}: {error})"
        self._ended = time.monotonic()
        self._state = state

    def _progress(self, done: int, total: int | None) -> None:
        self._done, self._total = done, total
        if self._cancel.is_set():
            raise _CancelledError
