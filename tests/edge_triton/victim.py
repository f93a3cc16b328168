"""A program that runs a server, for tests that kill it."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import psutil

from edge_triton.triton import reaper
from mvstylizer.bundle import Bundle


class Victim:
    """A program in its own session that runs a server, to be killed.

    Args:
        body: Python statements that print the address when ready; `bundle` is the bundle's folder.
        bundle: Bundle to serve.
        tmp: Temporary folder of the program.
    """

    IMPORTS = """
import os, signal, sys, time
from pathlib import Path
import numpy as np
from edge_triton.client.client import EdgeClient
from edge_triton.edge import EdgeOptions
from edge_triton.serve import serve
from edge_triton.triton.server import TritonServer
bundle = Path(sys.argv[1])
"""

    def __init__(self, body: str, bundle: Bundle, tmp: Path) -> None:
        self.tmp = tmp
        self.began = time.time()
        self.process = subprocess.Popen(
            [sys.executable, "-c", self.IMPORTS + body, str(bundle.path)],
            cwd=Path(__file__).parents[2],
            env={**os.environ, "TMPDIR": str(tmp)},
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self.address = self.read_line()
        self.family = psutil.Process(self.process.pid).children(recursive=True)
        self.regions, self.scratch = [], []
        for process in self.family:
            with suppress(psutil.NoSuchProcess):  # it has just ended
                if process.name().startswith("triton_python"):
                    self.regions.append(reaper.SHARED_MEMORY / process.cmdline()[2])
        for path in reaper.SCRATCH.glob("python_env_*"):
            with suppress(FileNotFoundError):
                if path.stat().st_mtime >= self.began:
                    self.scratch.append(path)

    def read_line(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def end(self, number: int) -> int:
        self.process.send_signal(number)
        return self.process.wait(timeout=300)

    def traces(self) -> list[object]:
        """Return what is left after the end: processes, shared memory, files."""
        _, alive = psutil.wait_procs(self.family, timeout=120)
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline and any(self.tmp.iterdir()):
            time.sleep(0.05)  # the reaper of a dead parent is still cleaning up
        left = [path for path in (*self.regions, *self.scratch, *self.tmp.iterdir()) if path.exists()]
        return [*alive, *left]
