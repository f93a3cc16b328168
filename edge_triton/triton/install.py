"""Install the bundled server: a virtual environment of its own, from pinned hashes.

Usage:
    environment = install_server()
"""

from __future__ import annotations

import contextlib
import os
import platform
import re
import shutil
import signal
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from edge_triton.triton.environment import (
    RECORD,
    REQUIREMENTS,
    VARIABLE,
    ServerEnvironment,
    ServerEnvironmentError,
    requirements_digest,
    server_folder,
)
from edge_triton.triton.interpreter import Interpreter, find_interpreter
from edge_triton.triton.startup_errors import ELSEWHERE

MACHINES = ("x86_64", "aarch64")
MIN_GLIBC = (2, 35)
_STOP_TIMEOUT_S = 10.0
_PIP_OPTIONS = (
    "install",
    "--require-hashes",
    "--no-deps",
    "--only-binary=:all:",
    "--progress-bar=off",
    "--disable-pip-version-check",
    "--no-input",
)
# A user's settings for pip that would send the packages elsewhere. Index and proxy stay in force.
_REDIRECTIONS = ("PIP_TARGET", "PIP_PREFIX", "PIP_ROOT", "PIP_USER", "PIP_CONSTRAINT", "PIP_NO_BINARY")
_FETCHED = re.compile(r"\s*(?:Downloading|Processing|Using cached) (?:\S*/)?([\w.]+-[\w.+]+)-\S+\.whl")


class InstallError(ServerEnvironmentError):
    """The bundled server cannot be installed on this machine, or pip failed."""


def _to_stderr(line: str) -> None:
    print(line, file=sys.stderr, flush=True)  # noqa: T201


def install_server(report: Callable[[str], None] = _to_stderr) -> ServerEnvironment:
    """Create the bundled server's environment, or return the one that is already there.

    It appears complete or not at all: it is built in a folder next to its place, which an interrupted run
    removes. Of two runs at the same time one waits for the other.

    Args:
        report: Receives one line per step.

    Raises:
        InstallError: Another system than Linux on x86-64 or aarch64, a folder that cannot be used, or pip
            failed.
        InterpreterError: No Python that the server supports.
    """
    folder = server_folder()
    with contextlib.suppress(ServerEnvironmentError):
        environment = ServerEnvironment.find(folder)
        report(f"The bundled Triton is installed in {folder}")
        return environment
    _check_system()
    interpreter = find_interpreter()
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with _lock(folder, report):
            with contextlib.suppress(ServerEnvironmentError):
                return ServerEnvironment.find(folder)  # another run has just finished
            return _install(folder, interpreter, report)
    except OSError as err:
        raise InstallError(
            f"Cannot install the bundled Triton in {folder}: {err.strerror or err}",
            f"Set {VARIABLE} to another folder",
        ) from err


def _check_system() -> None:
    """Refuse a system for which there are no wheels, before anything is downloaded."""
    if platform.system() != "Linux" or platform.machine() not in MACHINES:
        raise InstallError(
            f"The bundled Triton needs Linux on {' or '.join(MACHINES)}",
            "Stylize without it: --local, or --edge HOST:PORT",
        )
    name, version = platform.libc_ver()
    numbers = tuple(int(part) for part in re.findall(r"\d+", version)[:2])
    if name != "glibc" or numbers < MIN_GLIBC:
        raise InstallError(
            f"The bundled Triton needs glibc {MIN_GLIBC[0]}.{MIN_GLIBC[1]} or later; "
            f"this system has {name or 'another libc'} {version}".rstrip(),
            f"Use the official container, {ELSEWHERE}",
        )


@contextlib.contextmanager
def _lock(folder: Path, report: Callable[[str], None]) -> Iterator[None]:
    """Hold the lock on a folder, waiting for another installation to finish."""
    import fcntl  # not on Windows, where this module must still import

    with folder.with_name(f".{folder.name}.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            report("Waiting for another installation of the bundled Triton")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _install(folder: Path, interpreter: Interpreter, report: Callable[[str], None]) -> ServerEnvironment:
    """Build the environment in a folder next to its place, then move it there."""
    _clear(folder)
    part = folder.with_name(f".{folder.name}.part")
    shutil.rmtree(part, ignore_errors=True)  # of a run that was killed; the lock is ours
    report(f"Installing the bundled Triton in {folder} (about 100 MB to download)")
    try:
        _run([interpreter.path, "-I", "-m", "venv", part], part, report)
        python: list[str | Path] = [part / "bin" / "python3", "-I"]
        _run([*python, "-m", "pip", *_PIP_OPTIONS, f"--requirement={REQUIREMENTS}"], part, report)
        _run([*python, "-c", "import numpy, onnxruntime"], part, report)
        environment = ServerEnvironment(part, interpreter.version, interpreter.library, requirements_digest())
        if not environment.stub.is_file():
            raise InstallError(
                f"nvidia-pytriton has no stub for Python {interpreter.version}",
                f"Install another, {ELSEWHERE}",
            )
        shutil.rmtree(part / "tmp")
        environment.write()
        part.rename(folder)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    report(f"Installed the bundled Triton, with Python {interpreter.version} ({interpreter.path})")
    return replace(environment, folder=folder)


def _clear(folder: Path) -> None:
    """Remove a damaged or outdated environment; refuse a folder that holds anything else."""
    if (folder / RECORD).exists():
        shutil.rmtree(folder)
    elif folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
        raise InstallError(
            f"{folder} exists and is not a server environment", f"Remove it, or set {VARIABLE} to another"
        )


def _run(command: Sequence[str | Path], part: Path, report: Callable[[str], None]) -> None:
    """Run one step, reporting what it fetches; its temporary files go into the unfinished environment.

    Raises:
        InstallError: It failed.
    """
    variables = {key: value for key, value in os.environ.items() if key not in _REDIRECTIONS}
    (part / "tmp").mkdir(parents=True, exist_ok=True)
    process = subprocess.Popen(
        command,
        env={**variables, "TMPDIR": str(part / "tmp")},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    )
    assert process.stdout is not None
    lines: deque[str] = deque(maxlen=200)
    try:
        for line in process.stdout:
            lines.append(line.strip())
            fetched = _FETCHED.match(line)
            if fetched:
                report(f"Fetching {fetched[1]}")
        process.wait()
    finally:
        _stop(process)
    if process.returncode:
        raise _failure(lines)


def _stop(process: subprocess.Popen[str]) -> None:
    """End a step that an interruption has left running."""
    if process.poll() is None:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(_STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _failure(lines: deque[str]) -> InstallError:
    """Build the error from what the failed step printed: its first error, or its last line."""
    errors = [line.removeprefix("ERROR: ") for line in lines if line.startswith("ERROR: ")]
    reason = next(iter(errors), next((line for line in reversed(lines) if line), "no output"))
    if "HASHES" in reason:
        return InstallError(
            "A package of the bundled Triton differs from its pinned hash",
            "Check which index pip uses (pip config list); a mirror must serve PyPI's own files",
        )
    return InstallError(
        f"Installing the bundled Triton failed: {reason}",
        f"Check the network connection and pip's index (pip config list), {ELSEWHERE}",
    )
