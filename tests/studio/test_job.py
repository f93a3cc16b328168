from __future__ import annotations

import threading

from device_runtime.pipeline import Progress
from device_runtime.report import Report
from mvstylizer.errors import MVStylizerError
from studio.job import Job

REPORT = Report(2, 1, 1, {"total": 0.1}, "transfer", "map", "out.mp4", 64, 48)


def ended(job: Job) -> Job:
    job.wait()
    assert not job.is_running
    return job


def test_done() -> None:
    def work(progress: Progress) -> Report:
        progress(1, 2)
        progress(2, 2)
        return REPORT

    status = ended(Job(work, str)).status
    assert (status.state, status.done, status.total) == ("done", 2, 2)
    assert status.report == REPORT.as_dict()


def test_cancelled_between_two_frames() -> None:
    may_go_on = threading.Event()

    def work(progress: Progress) -> Report:
        progress(1, None)
        may_go_on.wait(60)
        progress(2, None)
        return REPORT

    job = Job(work, str)
    job.cancel()
    may_go_on.set()
    status = ended(job).status
    assert status.state == "cancelled"
    assert status.report is None
    assert not status.cancelling


def test_user_errors_are_one_line_and_bugs_are_internal_errors() -> None:
    def failing(progress: Progress) -> Report:
        raise MVStylizerError("The edge is down", "Start it")

    def faulty(progress: Progress) -> Report:
        raise KeyError("x")

    assert ended(Job(failing, str)).status.error == "The edge is down. Start it"
    status = ended(Job(faulty, str)).status
    assert status.state == "failed"
    assert "KeyError" in status.error
