"""Stylize many files, several at a time, and go on after one that fails."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import Final

from device_runtime.batch.plan import Item
from device_runtime.batch.report import BatchReport, FileResult
from device_runtime.media.atomic_file import make_folder
from device_runtime.pipeline import Progress
from device_runtime.report import Report
from edge_triton.client.errors import EdgeUnavailableError
from mvstylizer.errors import MVStylizerError
from mvstylizer.stylizer import Stylizer

END_TIMEOUT_S: Final = 20.0
_log = logging.getLogger(__name__)
WAIT_S: Final = 0.2  # between two looks for a signal while files are stylized

Work = Callable[[Item, Stylizer, Progress], Report]
"""Stylizes one file with a worker's stylizer, and calls its last argument after each frame."""


OnResult = Callable[[FileResult, int], None]
OnFrame = Callable[[Item, int, int | None], None]


class _CancelledError(BaseException):
    """Unwinds the pipeline, which removes its partial output."""


def run_batch(
    items: Sequence[Item],
    out: Path,
    work: Work,
    open_stylizer: Callable[[], AbstractContextManager[Stylizer]],
    *,
    jobs: int = 1,
    skip_existing: bool = False,
    on_result: OnResult | None = None,
    on_frame: OnFrame | None = None,
) -> BatchReport:
    """Stylize files. A file that fails is reported, and the others are still made, unless the edge is gone.

    Ctrl-C and other exceptions in this thread end the workers, which leave no partial result.

    Args:
        items: The files; see `plan_batch`.
        out: The folder of the results; created if missing.
        work: Stylizes one file.
        open_stylizer: Opens a stylizer; called once per worker.
        jobs: Number of files at a time, at least 1.
        skip_existing: Leave files out whose result exists.
        on_result: Called after each file with its result and the number of finished files, from any thread
            but by one at a time.
        on_frame: Called after each frame, from any thread.

    Returns:
        What became of each file.

    Raises:
        OutputError: The folder cannot be created.
        MVStylizerError: No stylizer can be opened.
    """
    began = time.monotonic()
    for folder in {out, *(item.out.parent for item in items)}:
        make_folder(folder)
    batch = _Batch(items, work, open_stylizer, skip_existing, on_result, on_frame)
    batch.run(jobs)
    results = [batch.results[number] for number in range(len(items))]
    return BatchReport(str(out), results, round(time.monotonic() - began, 3))


class _Batch:
    """The workers of one run and what they share."""

    def __init__(
        self,
        items: Sequence[Item],
        work: Work,
        open_stylizer: Callable[[], AbstractContextManager[Stylizer]],
        skip_existing: bool,
        on_result: OnResult | None,
        on_frame: OnFrame | None,
    ) -> None:
        self.results: dict[int, FileResult] = {}
        self._waiting = deque(enumerate(items))
        self._work, self._open_stylizer, self._skip_existing = work, open_stylizer, skip_existing
        self._on_result, self._on_frame = on_result, on_frame
        self._lock = threading.Lock()
        self._cancelled = threading.Event()
        self._fatal: BaseException | None = None

    def run(self, jobs: int) -> None:
        """Stylize all files; an exception in this thread, or a fatal one in a worker, cancels the others."""
        workers = [threading.Thread(target=self._serve, name=f"file-{n}", daemon=True) for n in range(jobs)]
        try:
            for worker in workers:
                worker.start()
            for worker in workers:
                while worker.is_alive():
                    worker.join(WAIT_S)  # in steps, so that a signal is handled
        except BaseException:
            self._cancelled.set()
            for worker in workers:
                if worker.ident is not None:  # it was started
                    worker.join(END_TIMEOUT_S)
            raise
        if self._fatal is not None:
            raise self._fatal

    def _serve(self) -> None:
        try:
            with self._open_stylizer() as stylizer:
                while self._waiting and not self._cancelled.is_set():
                    try:
                        number, item = self._waiting.popleft()
                    except IndexError:  # another worker was faster
                        return
                    self._stylize(number, item, stylizer)
        except _CancelledError:
            pass
        except BaseException as error:  # no stylizer, or a bug of ours: end the run
            self._fatal = self._fatal or error
            self._cancelled.set()

    def _stylize(self, number: int, item: Item, stylizer: Stylizer) -> None:
        def progress(done: int, total: int | None) -> None:
            if self._cancelled.is_set():
                raise _CancelledError
            if self._on_frame is not None:
                self._on_frame(item, done, total)

        work = self._work
        result, is_last = _stylized(item, self._skip_existing, lambda: work(item, stylizer, progress))
        self._finish(number, result)
        while is_last and self._waiting:
            number, item = self._waiting.popleft()
            self._finish(number, replace(result, source=str(item.source), out=str(item.out)))

    def _finish(self, number: int, result: FileResult) -> None:
        with self._lock:
            self.results[number] = result
            if self._on_result is not None:
                self._on_result(result, len(self.results))


def _stylized(item: Item, skip_existing: bool, work: Callable[[], Report]) -> tuple[FileResult, bool]:
    """Return what became of a file, and whether the files after it would fail in the same way."""
    names = str(item.source), str(item.out)
    if skip_existing and item.out.exists():
        return FileResult(*names, "skipped"), False
    try:
        return FileResult(*names, "done", report=work()), False
    except MVStylizerError as error:
        failed = FileResult(*names, "failed", error.message, error.hint)
        return failed, isinstance(error, EdgeUnavailableError)
    except Exception as error:  # a bug that this file brings up
        _log.exception("%s failed", item.source)
        return FileResult(*names, "failed", f"Internal error ({type(error).__name__}: {error})"), False
