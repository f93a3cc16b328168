from __future__ import annotations

import os
import subprocess
import sys

import psutil
import pytest

from benchmarks.metrics.memory_usage import memory_mib


def test_descendants_count_unless_they_have_exited(monkeypatch: pytest.MonkeyPatch) -> None:
    command = [sys.executable, "-c", "held = b'x' * (64 << 20); print(flush=True); input()"]
    ended = subprocess.Popen([sys.executable, "-c", ""])
    gone = psutil.Process(ended.pid)
    ended.wait()
    this = psutil.Process(os.getpid())
    alone = memory_mib(this)
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdout
        child.stdout.readline()
        monkeypatch.setattr(this, "children", lambda recursive: [gone, psutil.Process(child.pid)])
        assert 60 < memory_mib(this) - alone < 100
        child.communicate(b"\n")


def test_a_program_that_has_exited_is_an_error() -> None:
    program = subprocess.Popen([sys.executable, "-c", ""])
    process = psutil.Process(program.pid)
    program.wait()
    with pytest.raises(psutil.NoSuchProcess):
        memory_mib(process)
