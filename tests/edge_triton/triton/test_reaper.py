"""The keeper with plain processes in the server's place."""

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

# A "server" with a child, both deaf to SIGTERM; it writes both process ids when they are.
STUBBORN = (
    "trap '' TERM; (trap '' TERM; sleep 600) & echo $$ $! > pids.part; mv pids.part pids; wait; sleep 600"
)
OBEDIENT = (
    "trap 'touch farewell; exit 0' TERM; echo $$ > pids.part; mv pids.part pids; while :; do sleep 0.05; done"
)


class Kept:
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
def kept(tmp_path: Path) -> Iterator[Kept]:
    one = Kept(tmp_path, os.getpid())
    yield one
    one.process.communicate()


def close(kept: Kept) -> None:
    assert kept.process.stdin is not None
    kept.process.stdin.close()


@pytest.mark.parametrize("ask", [close, lambda kept: kept.order({"grace_s": 0}), lambda kept: kept.order({})])
def test_stopping_ends_the_whole_group_and_removes_only_ours(kept: Kept, ask: Callable[[Kept], None]) -> None:
    family = kept.run(STUBBORN)
    ours, foreign = kept.region(kept.prefix), kept.region(f"other_{kept.prefix}")
    try:
        ask(kept)
        assert kept.finish() == 0
        assert len(family) == 2
        assert not any(process.is_running() for process in family)
        assert not ours.exists()
        assert foreign.exists()
        assert not kept.workdir.exists()
    finally:
        foreign.unlink()


def test_grace_lets_the_server_finish(kept: Kept) -> None:
    kept.run(OBEDIENT)
    kept.order({"grace_s": 30})
    assert kept.finish() == 0
    assert (kept.outside / "farewell").exists()


def test_no_grace_kills_at_once(kept: Kept) -> None:
    kept.run(OBEDIENT)
    kept.order({"grace_s": 0})
    assert kept.finish() == 0
    assert not (kept.outside / "farewell").exists()


@pytest.mark.parametrize(("script", "status"), [("exit 7", 7), ("kill -9 $$", 128 + 9)])
def test_server_that_ends_by_itself_is_reported(kept: Kept, script: str, status: int) -> None:
    kept.order({"argv": ["/bin/sh", "-c", script], "env": {}})
    assert kept.finish() == status
    assert not kept.workdir.exists()


def test_signals_to_the_keeper_do_not_stop_it(kept: Kept) -> None:
    (server,) = kept.run(OBEDIENT)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        kept.process.send_signal(number)
    kept.order({"grace_s": 30})
    assert kept.finish() == 0
    assert not server.is_running()


def test_parent_that_goes_before_the_first_order(kept: Kept) -> None:
    close(kept)
    assert kept.finish() == 0
    assert not kept.workdir.exists()


def test_dead_parent_is_noticed_while_another_process_holds_the_pipe(tmp_path: Path) -> None:
    # This process, not the parent the keeper was told of, holds the pipe: as a forked sibling would.
    stranger = Kept(tmp_path, parent=1 if os.getpid() != 1 else 2)
    assert stranger.finish() == 0
    assert not stranger.workdir.exists()
    stranger.process.communicate()


def test_dead_keeper_takes_the_server_with_it(kept: Kept) -> None:
    (server,) = kept.run(OBEDIENT)
    kept.process.kill()
    _, alive = psutil.wait_procs([server], timeout=60)
    assert not alive
