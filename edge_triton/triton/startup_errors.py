"""Errors of a server that does not start or dies: its last useful log line, and what to do about it."""

from __future__ import annotations

import re

from mvstylizer.errors import MVStylizerError

ELSEWHERE = "or stylize without it: --local, or --edge HOST:PORT"


class ServerError(MVStylizerError):
    """The bundled server failed."""


class ServerStartError(ServerError):
    """The bundled server cannot start on this machine, or takes too long."""


class PortTakenError(ServerStartError):
    """The port is in use by another program."""


class ServerDiedError(ServerError):
    """The server ended while in use, or is not running."""


# Pattern in the log, error class, hint. The first match wins, so causes come before their effects.
_CAUSES: tuple[tuple[str, type[ServerStartError], str], ...] = (
    (
        r"error while loading shared libraries: libpython",
        ServerStartError,
        f"Install that library (Debian, Ubuntu: apt install libpython3.11 or libpython3.12), {ELSEWHERE}",
    ),
    (
        r"error while loading shared libraries|version `GLIBC|cannot execute|Exec format error",
        ServerStartError,
        f"The bundled Triton does not run on this system: use the official container, {ELSEWHERE}",
    ),
    (
        r"Socket '.*' already in use",
        PortTakenError,
        "Choose another port with --port, or stop the program that uses it",
    ),
    (
        r"'--shm-size'|No space left on device",
        ServerStartError,
        f"Make /dev/shm larger (Docker: --shm-size=256m), {ELSEWHERE}",
    ),
    (
        r"No module named",
        ServerStartError,
        f"Remove the server's folder and run: mvstylizer serve --install, {ELSEWHERE}",
    ),
    (r"failed to load '|failed for model directory", ServerStartError, "Export the bundle again"),
)
# After one of these, waiting is pointless. After the first, the server itself would wait forever.
_FATAL = re.compile(r"error while loading shared libraries|Socket '.*' already in use|failed to load '")
_NOISE = re.compile(r"CudaDriverHelper|^[+|]|^\s*$|^Signal \(|^[IW]\d{4} |^At:|^  /|^  <|^;")
_PREFIX = re.compile(r"^[EF]\d{4} \S+ +\d+ \S+\] |^/\S+: (?=error while)")
_TRACE = re.compile(r"(\\n)+At:.*")
_MAX_LINE_CHARS = 240


def is_fatal(log: str) -> bool:
    """Return whether the log names a cause after which waiting is pointless."""
    return bool(_FATAL.search(log))


def start_error(event: str, log: str) -> ServerStartError:
    """Return the error for a server that did not start.

    Args:
        event: What was observed, for example ``ended with status 1``.
        log: Output of the server and its stubs.
    """
    for pattern, kind, hint in _CAUSES:
        for line in log.splitlines():
            if re.search(pattern, line) and not _NOISE.search(line):
                return kind(f"The bundled Triton {event}: {_tidy(line)}", hint)
    line = last_line(log)
    return ServerStartError(
        f"The bundled Triton {event}" + (f": {line}" if line else ""), f"Try again, {ELSEWHERE}"
    )


def last_line(log: str) -> str:
    """Return the last meaningful line of the log without Triton's prefix, or an empty string."""
    useful = [line for line in log.splitlines() if not _NOISE.search(line)]
    return _tidy(useful[-1]) if useful else ""


def _tidy(line: str) -> str:
    text = " ".join(_TRACE.sub("", _PREFIX.sub("", line)).split()).strip('" ')
    return text if len(text) <= _MAX_LINE_CHARS else text[: _MAX_LINE_CHARS - 1] + "…"
