"""The second line of defence: what is cleaned up when the reaper itself is killed or stopped."""

from __future__ import annotations

import os
import secrets
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from edge_triton.triton import reaped_process, reaper
from edge_triton.triton.reaped_process import ReapedProcess

# A "server" with a "stub" that does not notice its death; both have the prefix in their command lines.
STUB = "import sys, time; open(sys.argv[2], 'w').close(); time.sleep(600)"
SERVER = "import subprocess, sys; subprocess.run([sys.executable, '-c', *sys.argv[1:]])"
PARENT = """
import os, sys, time
from edge_triton.triton.reaped_process import ReapedProcess
process = ReapedProcess(sys.argv[1])
process.run(sys.argv[2:], dict(os.environ))
print(process.pid, flush=True)
time.sleep(600)
"""


class Server:
    """The command line of a server, and what it leaves.

    Args:
        tmp: For the sign that the stub runs.
    """

    def __init__(self, tmp: Path) -> None:
        self.prefix = f"mvs_{secrets.token_hex(6)}_"
        self.ready = tmp / "ready"
        self.argv = [sys.executable, "-c", SERVER, STUB, self.prefix, str(self.ready)]
        self.region = reaper.SHARED_MEMORY / f"{self.prefix}region"

    def wait(self) -> None:
        end = time.monotonic() + 60
        while not self.ready.exists():
            assert time.monotonic() < end
            time.sleep(0.01)
        self.region.touch()

    def processes(self) -> list[psutil.Process]:
        return [
            process
            for process in psutil.process_iter(["cmdline"])
            if self.prefix in (process.info["cmdline"] or [])
            and reaper.__file__ not in process.info["cmdline"]
            and process.pid != os.getpid()
        ]


@pytest.fixture
def server(tmp_path: Path) -> Server:
    return Server(tmp_path)


@pytest.fixture(autouse=True)
def _temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))


def killed(process: ReapedProcess) -> None:
    os.kill(process.pid, signal.SIGKILL)


def stopped(process: ReapedProcess) -> None:
    os.kill(process.pid, signal.SIGSTOP)


def stopped_for_good(process: ReapedProcess) -> None:
    stopped(process)
    send = process._reaper.send_signal
    process._reaper.send_signal = lambda number: None if number == signal.SIGCONT else send(number)  # type: ignore[method-assign]


@pytest.mark.parametrize("harm", [killed, stopped, stopped_for_good])
def test_stopping_cleans_up_without_the_reaper(
    server: Server, harm: Callable[[ReapedProcess], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reaped_process, "_REAPER_MARGIN_S", 0.2)
    monkeypatch.setattr(reaper, "REAP_S", 0.2)
    process = ReapedProcess(server.prefix)
    process.run(server.argv, dict(os.environ))
    server.wait()
    assert len(server.processes()) == 2
    harm(process)
    process.stop(0)
    assert server.processes() == []
    assert not server.region.exists()
    assert not process.folder.exists()


def test_what_a_program_killed_with_its_reaper_left_is_removed_by_the_next(
    server: Server, tmp_path: Path
) -> None:
    argv = [sys.executable, "-c", PARENT, server.prefix, *server.argv]
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True, env=environment) as parent:
        assert parent.stdout
        pid = int(parent.stdout.readline())
        server.wait()
        other = ReapedProcess(f"mvs_{secrets.token_hex(6)}_")  # leaves a living one alone
        assert server.region.exists()
        assert server.processes() != []
        reaper_process = psutil.Process(pid)
        reaper_process.kill()
        parent.kill()
        parent.wait()
        reaper_process.wait(60)
    (left,) = [path for path in tmp_path.glob("mvstylizer-triton-*") if path != other.folder]
    again = ReapedProcess(f"mvs_{secrets.token_hex(6)}_")
    assert server.processes() == []
    assert not server.region.exists()
    assert not left.exists()
    for process in (other, again):
        process.stop(0)
    assert list(tmp_path.glob("mvstylizer-*")) == []
