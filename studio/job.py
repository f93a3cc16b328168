"""One job in a thread of its own: how far it is, how it ended, and how to make it end."""

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
MAX_END_S: Final = 20.0

_log = logging.getLogger(__name__)


class _CancelledError(Exception):
    """Unwinds the pipeline, which removes what it has begun to write."""


@dataclass(frozen=True)
class Status:
    """Where a job stands.

    Attributes:
        state: What it does, or how it ended.
        done: Frames finished.
        total: Frames in all, an estimate; None = unknown.
        seconds: How long it has run.
        cancelling: It was asked to end and has not yet.
        error: One line, of a job that failed.
        report: `Report.as_dict` of a job that is done.
    """

    state: State
    done: int
    total: int | None
    seconds: float
    cancelling: bool
    error: str = ""
    report: dict[str, Any] | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return the fields as plain values, fit for JSON."""
        return asdict(self)


class Job:
    """Runs `work` at once.

    Args:
        work: Stylizes, and calls what it is given after each frame.
        line: Words for an error that the user can mend.
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
        # A daemon: an edge that does not answer must not hold up the end of the program.
        self._thread = threading.Thread(target=self._run, name="studio-job", daemon=True)
        self._thread.start()

    @property
    def is_running(self) -> bool:
        """It has not ended yet."""
        return self._state == "running"

    @property
    def status(self) -> Status:
        """Where it stands."""
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
        """Ask it to end after the frame that it is at; does not wait."""
        self._cancel.set()

    def wait(self) -> None:
        """Wait until it has ended, or is so stuck that it will not."""
        self._thread.join(MAX_END_S)

    def _run(self) -> None:
        try:
            self._report = self._work(self._progress)
            state: State = "done"
        except _CancelledError:
            state = "cancelled"
        except MVStylizerError as error:
            state, self._error = "failed", self._line(error)
        except Exception as error:  # a fault of ours: say so, and keep the page alive
            _log.exception("a job failed")
            state, self._error = "failed", f"The kit itself failed ({type(error).__name__}: {error})"
        self._ended = time.monotonic()
        self._state = state

    def _progress(self, done: int, total: int | None) -> None:
        self._done, self._total = done, total
        if self._cancel.is_set():
            raise _CancelledError
