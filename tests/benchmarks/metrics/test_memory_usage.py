from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import psutil
import pytest

from benchmarks.metrics.memory_usage import memory_mib


@contextmanager
def holding(mebibytes: int) -> Iterator[psutil.Process]:
    """Run a program that holds this much memory."""
    held = f"held = b'x' * ({mebibytes} << 20); print(flush=True); input()"
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen([sys.executable, "-c", held], **pipes) as program:
        assert program.stdout
        program.stdout.readline()
        yield psutil.Process(program.pid)
        program.communicate(b"\n")


def test_descendants_count_unless_they_have_exited(monkeypatch: pytest.MonkeyPatch) -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    gone = psutil.Process(ended.pid)
    ended.wait()
    with holding(1) as program, holding(64) as child:
        alone = memory_mib(program)
        monkeypatch.setattr(program, "children", lambda recursive: [gone, child])
        assert 60 < memory_mib(program) - alone < 100


def test_a_program_that_has_exited_is_an_error() -> None:
    program = subprocess.Popen([sys.executable, "-c", ""])
    process = psutil.Process(program.pid)
    program.wait()
    with pytest.raises(psutil.NoSuchProcess):
        memory_mib(process)
