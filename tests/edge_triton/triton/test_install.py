"""Installing the bundled server: complete or not at all, from pinned hashes, with one line per failure.

A script stands in for pip where the download is not the point.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from edge_triton.triton import install as module
from edge_triton.triton.environment import ServerEnvironment, server_folder
from edge_triton.triton.install import InstallError, install_server
from edge_triton.triton.interpreter import Interpreter

ROOT = Path(__file__).parents[3]

# Creates what `venv` and pip would. MODE chooses how pip behaves.
FAKE_PYTHON = """#!/bin/sh
case "$*" in
  *"-m venv"*)
    for part; do :; done
    mkdir -p "$part/bin"; cp "$0" "$part/bin/python3" ;;
  *"-m pip"*)
    echo "  Downloading numpy-1.26.4-cp311-cp311-manylinux_2_17_x86_64.whl (18.3 MB)"
    case "$MODE" in
      fail) echo "WARNING: Retrying"; echo "ERROR: No matching distribution found for numpy"; exit 1 ;;
      hash) echo "ERROR: THESE PACKAGES DO NOT MATCH THE HASHES FROM THE REQUIREMENTS FILE."; exit 1 ;;
      slow) touch "$STARTED"; exec sleep 60 ;;
    esac
    stub=$(dirname "$0")/../lib/python3.11/site-packages/pytriton/tritonserver/python_backend_stubs/3.11
    mkdir -p "$stub"; touch "$stub/triton_python_backend_stub"
    echo run >> "$RUNS" ;;
esac
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The place of an environment, with a stand-in for Python."""
    python = tmp_path / "python"
    python.write_text(FAKE_PYTHON)
    python.chmod(0o755)
    monkeypatch.setattr(module, "find_interpreter", lambda: Interpreter(python, "3.11", "", True, True))
    monkeypatch.setattr(module, "_check_system", lambda: None)
    monkeypatch.setenv("MVSTYLIZER_TRITON", str(tmp_path / "cache" / "triton"))
    monkeypatch.setenv("RUNS", str(tmp_path / "runs"))
    return server_folder()


def leftovers(folder: Path) -> list[str]:
    return [path.name for path in folder.parent.iterdir() if path.suffix != ".lock"]


def test_it_is_installed_once(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    installed = install_server()
    assert install_server() == installed == ServerEnvironment.find(folder)
    assert (tmp_path / "runs").read_text() == "run\n"
    assert leftovers(folder) == ["triton"]
    assert not (folder / "tmp").exists()
    printed = capsys.readouterr()
    assert printed.out == ""
    assert "Fetching numpy-1.26.4" in printed.err


def test_two_runs_at_once_install_it_once(folder: Path, tmp_path: Path) -> None:
    lines: list[str] = []
    threads = [threading.Thread(target=install_server, args=(lines.append,)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (tmp_path / "runs").read_text() == "run\n"
    assert ServerEnvironment.find(folder)


@pytest.mark.parametrize(
    ("mode", "message", "hint"),
    [
        ("fail", "No matching distribution found", "Check the network connection"),
        ("hash", "differs from its pinned hash", "mirror"),
    ],
)
def test_a_failing_pip_is_one_line_and_leaves_nothing(
    folder: Path, monkeypatch: pytest.MonkeyPatch, mode: str, message: str, hint: str
) -> None:
    monkeypatch.setenv("MODE", mode)
    with pytest.raises(InstallError, match=message) as caught:
        install_server()
    assert hint in caught.value.hint
    assert leftovers(folder) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_installation_leaves_nothing(
    folder: Path, tmp_path: Path, number: signal.Signals
) -> None:
    program = f"""
import sys
from pathlib import Path
from edge_triton.triton import install
from edge_triton.triton.interpreter import Interpreter
import mvstylizer_cli.main as cli
install.find_interpreter = lambda: Interpreter(Path({str(tmp_path / "python")!r}), "3.11", "", True, True)
install._check_system = lambda: None
sys.argv = ["mvstylizer", "serve", "--install"]
cli.main()
"""
    started = tmp_path / "started"
    process = subprocess.Popen(
        [sys.executable, "-c", program],
        cwd=ROOT,
        env={**os.environ, "MODE": "slow", "STARTED": str(started)},
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 120
    while not started.exists():
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(number)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 128 + number
    assert "Traceback" not in errors
    assert leftovers(folder) == []


def test_remains_of_a_killed_run_are_replaced(folder: Path) -> None:
    part = folder.with_name(f".{folder.name}.part")
    (part / "bin" / "python3").mkdir(parents=True)
    assert install_server()
    assert leftovers(folder) == ["triton"]


def test_a_damaged_environment_is_replaced(folder: Path) -> None:
    installed = install_server()
    installed.stub.unlink()
    assert install_server().stub.is_file()


def test_a_folder_with_other_contents_is_not_touched(folder: Path) -> None:
    folder.mkdir(parents=True)
    (folder / "thesis.txt").touch()
    with pytest.raises(InstallError, match="exists and is not a server environment"):
        install_server()
    assert (folder / "thesis.txt").exists()


def test_a_folder_that_cannot_be_created_is_one_line(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("MVSTYLIZER_TRITON", str(tmp_path / "file" / "triton"))
    with pytest.raises(InstallError, match="Cannot install") as caught:
        install_server()
    assert "MVSTYLIZER_TRITON" in caught.value.hint


@pytest.mark.parametrize(
    ("system", "machine", "libc", "message"),
    [
        ("Darwin", "arm64", ("", ""), "needs Linux"),
        ("Linux", "riscv64", ("glibc", "2.39"), "needs Linux on"),
        ("Linux", "x86_64", ("glibc", "2.31"), r"glibc 2\.35 or later; this system has glibc 2\.31"),
        ("Linux", "x86_64", ("", ""), "another libc"),
    ],
)
def test_a_system_without_wheels_is_refused_before_the_download(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    system: str,
    machine: str,
    libc: tuple[str, str],
    message: str,
) -> None:
    monkeypatch.setenv("MVSTYLIZER_TRITON", str(tmp_path / "triton"))
    monkeypatch.setattr(module.platform, "system", lambda: system)
    monkeypatch.setattr(module.platform, "machine", lambda: machine)
    monkeypatch.setattr(module.platform, "libc_ver", lambda: libc)
    with pytest.raises(InstallError, match=message):
        install_server()
