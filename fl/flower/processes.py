"""Run Flower's programs as child processes that exit with the parent and make no external connections."""

from __future__ import annotations

import contextlib
import ctypes
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from mvstylizer.errors import MissingExtraError, MVStylizerError

CLOUD_VARIABLE, EDGE_VARIABLE = "MVSTYLIZER_CLOUD", "MVSTYLIZER_EDGE"
METRICS_VARIABLE, NICE_VARIABLE = "MVSTYLIZER_METRICS", "MVSTYLIZER_NICE"
NOISE_VARIABLE, CLIP_VARIABLE = "MVSTYLIZER_DP_NOISE", "MVSTYLIZER_DP_CLIP"
STOP_TIMEOUT_S = 10.0

_OFFLINE = {
    "FLWR_TELEMETRY_ENABLED": "0",
    "FLWR_DISABLE_UPDATE_CHECK": "1",
    "FLWR_DISABLE_RUNTIME_DEPENDENCY_INSTALLATION": "1",
    "FLWR_INTERNAL_GRPC_CONTROL_API": "0",  # older protocols on ports of their own
    "FLWR_INTERNAL_GRPC_FLEET_API": "0",
    "FLWR_SUPEREXEC_TASK_POLL_INTERVAL": "0.25",  # seconds, of a local program; the default is 1
}
_PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None)


class FederationError(MVStylizerError):
    """The federation cannot be started or reached, or a run failed."""


def program(name: str) -> str:
    """Return the path of one of Flower's programs, preferably from this environment.

    Raises:
        MissingExtraError: Flower is not installed.
    """
    found = shutil.which(name, path=str(Path(sys.executable).parent)) or shutil.which(name)
    if found is None:
        raise MissingExtraError("fl", "flwr")
    return found


def environment(home: Path, extra: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of Flower's programs: offline, own home, our code importable."""
    here = str(Path(__file__).resolve().parents[2])
    paths = [here, *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
    programs = [str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)]
    return {
        **os.environ,
        **_OFFLINE,
        "FLWR_HOME": str(home),
        "PYTHONPATH": os.pathsep.join(dict.fromkeys(paths)),
        "PATH": os.pathsep.join(programs),
        **extra,
    }


@contextlib.contextmanager
def running(argv: Sequence[str], env: Mapping[str, str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Run a program in its own process group with output to a log file; on exit, end the whole group.

    The program also ends if this process is killed. Call from the main thread: the kernel ties the child to
    the thread that started it.
    """

    def die_with_parent() -> None:
        _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)

    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as output:
        process = subprocess.Popen(
            argv,
            env=dict(env),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            process_group=0,
            preexec_fn=die_with_parent,
        )
    try:
        yield process
    finally:
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(STOP_TIMEOUT_S)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def free_port() -> int:
    """Return a free ephemeral port of loopback, far from Triton's 8000-8002."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port


def end_with_parent() -> None:
    """Have the kernel kill this process when its parent dies.

    Flower's ServerApp otherwise lives, and holds the journal, for 10 s after its SuperLink was killed, and an
    edge that was killed trains to the end.
    """
    parent = os.getppid()
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:  # it died before the call
        os.kill(os.getpid(), signal.SIGKILL)


def exception_line(log: Path) -> str:
    """Return the last line of the last traceback in a log, ``TYPE: MESSAGE``; empty if there is none."""
    lines = iter(log.read_text(errors="replace").splitlines() if log.is_file() else [])
    found = ""
    for line in lines:
        if line.startswith("Traceback (most recent call last):"):
            found = next((after for after in lines if after and not after[0].isspace()), "")
    return found


def last_lines(log: Path, count: int = 3) -> str:
    """Return the last lines of a log as one line, for an error message."""
    lines = log.read_text(errors="replace").splitlines() if log.is_file() else []
    return " | ".join(line.strip() for line in lines[-count:])


def first_error(log: Path, offset: int) -> str:
    """Return the message after Flower's first ``Exit Code`` in a log from a byte offset, as one line."""
    lines = log.read_bytes()[offset:].decode(errors="replace").splitlines()
    at = next((number for number, line in enumerate(lines) if "Exit Code" in line), None)
    return " ".join(line.strip() for line in (lines[-1:] if at is None else lines[at + 1 : at + 3]))
