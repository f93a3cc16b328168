"""The reaper with plain processes instead of a server."""

from __future__ import annotations

import json
import os
import secrets
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from edge_triton.triton import reaper

# A "server" with a child, both ignoring SIGTERM; it writes both process ids once they do.
STUBBORN = (
    "trap '' TERM; (trap '' TERM; sleep 600) & echo $$ $! > pids.part; mv pids.part pids; wait; sleep 600"
)
OBEDIENT = (
    "trap 'touch farewell; exit 0' TERM; echo $$ > pids.part; mv pids.part pids; while :; do sleep 0.05; done"
)


class ReaperUnderTest:
    def __init__(self, tmp: Path, parent: int) -> None:
        self.prefix = f"mvs_test_{secrets.token_hex(6)}_"
        self.workdir = tmp / "work"
        self.outside = tmp / "outside"
        self.workdir.mkdir()
        self.outside.mkdir()
        self.process = subprocess.Popen(
            [sys.executable, "-I", "-S", reaper.__file__, str(self.workdir), self.prefix, str(parent)],
            stdin=subprocess.PIPE,
            start_new_session=True,
        )

    def order(self, order: dict[str, object]) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(order).encode() + b"\n")
        self.process.stdin.flush()

    def run(self, script: str) -> list[psutil.Process]:
        self.order({"argv": ["/bin/sh", "-c", f"cd {self.outside}; {script}"], "env": dict(os.environ)})
        pids = self.outside / "pids"
        while not pids.exists():
            assert self.process.poll() is None
        return [psutil.Process(int(pid)) for pid in pids.read_text().split()]

    def region(self, prefix: str) -> Path:
        path = reaper.SHARED_MEMORY / f"{prefix}region"
        path.touch()
        return path

    def finish(self) -> int:
        return self.process.wait(timeout=60)


@pytest.fixture
def reaper_process(tmp_path: Path) -> Iterator[ReaperUnderTest]:
    one = ReaperUnderTest(tmp_path, os.getpid())
    yield one
    one.process.communicate()


def close(reaper_process: ReaperUnderTest) -> None:
    assert reaper_process.process.stdin is not None
    reaper_process.process.stdin.close()


@pytest.mark.parametrize(
    "stop",
    [
        close,
        lambda reaper_process: reaper_process.order({"grace_s": 0}),
        lambda reaper_process: reaper_process.order({}),
    ],
)
def test_stopping_ends_the_whole_group_and_removes_only_its_own_files(
    reaper_process: ReaperUnderTest, stop: Callable[[ReaperUnderTest], None]
) -> None:
    family = reaper_process.run(STUBBORN)
    ours, foreign = (
        reaper_process.region(reaper_process.prefix),
        reaper_process.region(f"other_{reaper_process.prefix}"),
    )
    try:
        stop(reaper_process)
        assert reaper_process.finish() == 0
        assert len(family) == 2
        assert not any(process.is_running() for process in family)
        assert not ours.exists()
        assert foreign.exists()
        assert not reaper_process.workdir.exists()
    finally:
        foreign.unlink()


def test_grace_lets_the_server_finish(reaper_process: ReaperUnderTest) -> None:
    reaper_process.run(OBEDIENT)
    reaper_process.order({"grace_s": 30})
    assert reaper_process.finish() == 0
    assert (reaper_process.outside / "farewell").exists()


def test_zero_grace_kills_at_once(reaper_process: ReaperUnderTest) -> None:
    reaper_process.run(OBEDIENT)
    reaper_process.order({"grace_s": 0})
    assert reaper_process.finish() == 0
    assert not (reaper_process.outside / "farewell").exists()


@pytest.mark.parametrize(("script", "status"), [("exit 7", 7), ("kill -9 $$", 128 + 9)])
def test_exit_status_of_a_server_that_ends_by_itself(
    reaper_process: ReaperUnderTest, script: str, status: int
) -> None:
    reaper_process.order({"argv": ["/bin/sh", "-c", script], "env": {}})
    assert reaper_process.finish() == status
    assert not reaper_process.workdir.exists()


def test_reaper_ignores_signals(reaper_process: ReaperUnderTest) -> None:
    (server,) = reaper_process.run(OBEDIENT)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        reaper_process.process.send_signal(number)
    reaper_process.order({"grace_s": 30})
    assert reaper_process.finish() == 0
    assert not server.is_running()


def test_parent_that_dies_before_the_first_order(reaper_process: ReaperUnderTest) -> None:
    close(reaper_process)
    assert reaper_process.finish() == 0
    assert not reaper_process.workdir.exists()


def test_dead_parent_is_detected_while_another_process_holds_the_pipe(tmp_path: Path) -> None:
    # This process holds the pipe but is not the parent that the reaper watches, like a forked sibling.
    sibling = ReaperUnderTest(tmp_path, parent=1 if os.getpid() != 1 else 2)
    assert sibling.finish() == 0
    assert not sibling.workdir.exists()
    sibling.process.communicate()


def test_dead_reaper_takes_the_server_with_it(reaper_process: ReaperUnderTest) -> None:
    (server,) = reaper_process.run(OBEDIENT)
    reaper_process.process.kill()
    _, alive = psutil.wait_procs([server], timeout=60)
    assert not alive
