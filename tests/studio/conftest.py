from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

ROOT = Path(__file__).parents[2]
MAX_UPLOAD_MB = 3


class Studio:
    """A running `mvstylizer studio` and its address."""

    def __init__(self, process: subprocess.Popen[str], url: str) -> None:
        self.process = process
        self.url = url
        self.http = httpx.Client(base_url=url, timeout=120, trust_env=False)

    def put(self, role: str, name: str, content: bytes) -> httpx.Response:
        return self.http.put(f"/api/files/{role}", params={"name": name}, content=content)

    def stop(self, number: int = signal.SIGINT) -> int:
        self.http.close()
        self.process.send_signal(number)
        return self.process.wait(120)


@contextmanager
def running(folder: Path, *options: str) -> Iterator[Studio]:
    """Run a studio with its temporary files in `folder`."""
    command = [sys.executable, "-m", "mvstylizer_cli", "studio", "--port", "0", *options]
    environment = {**os.environ, "TMPDIR": str(folder)}
    process = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True, env=environment)
    assert process.stderr is not None
    try:
        line = next((each for each in process.stderr if each.startswith("Studio on ")), "")
        assert line, "it ended before it was ready"
        yield Studio(process, line.split()[2])
    finally:
        process.kill()
        process.wait()
        process.stderr.close()


@pytest.fixture(scope="package")
def studio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Studio]:
    """A studio shared by all tests that only send requests; they leave no job running."""
    folder = tmp_path_factory.mktemp("studio")
    with running(folder, "--local", "--max-upload", str(MAX_UPLOAD_MB)) as started:
        yield started
        assert started.stop() == 0
    assert list(folder.iterdir()) == []
