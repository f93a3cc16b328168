"""The Python interpreter that the bundled server embeds: one that NumPy 1.26 and the server's stub support.

It need not be the interpreter that runs the kit: under Python 3.13 the server uses a Python 3.12 or 3.11
found on ``PATH``.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from edge_triton.triton.startup_errors import ELSEWHERE, ServerStartError

SUPPORTED = ("3.12", "3.11")
"""Python versions with a wheel of every package in ``requirements.txt``, the preferred one first."""
PROBE_TIMEOUT_S = 20.0

# Looks for the shared library next to the interpreter, then where the system's loader looks.
_PROBE = """
import ctypes, importlib.util, json, os, sys, sysconfig
version = "%d.%d" % sys.version_info[:2]
name = "libpython%s.so.1.0" % version
folders = [sysconfig.get_config_var("LIBDIR"), os.path.join(sys.base_exec_prefix, "lib")]
paths = [os.path.join(folder, name) for folder in folders if folder]
library = next((path for path in paths if os.path.isfile(path)), "")
try:
    ctypes.CDLL(library or name)
    loads = True
except OSError:
    loads = False
has_pip = bool(importlib.util.find_spec("ensurepip"))
print(json.dumps({"version": version, "library": library, "loads": loads, "has_pip": has_pip}))
"""


class InterpreterError(ServerStartError):
    """No interpreter on this machine can run the bundled server's stub."""


@dataclass(frozen=True)
class Interpreter:
    """A Python installation, as it describes itself.

    Attributes:
        path: Its executable.
        version: Major and minor version, for example ``3.11``.
        library: Its shared library; empty if the system's loader finds it or there is none.
        loads: The shared library can be loaded.
        has_pip: It can create a virtual environment that contains pip.
    """

    path: Path
    version: str
    library: str
    loads: bool
    has_pip: bool


def probe(path: Path) -> Interpreter | None:
    """Ask an executable for its version and its shared library.

    Returns:
        The interpreter; None if it does not run (a pyenv shim of a version that is not selected).
    """
    try:
        done = subprocess.run(
            [path, "-I", "-c", _PROBE], capture_output=True, text=True, timeout=PROBE_TIMEOUT_S, check=True
        )
        return Interpreter(path, **json.loads(done.stdout))
    except (OSError, subprocess.SubprocessError, ValueError, TypeError):
        return None


def find_interpreter() -> Interpreter:
    """Return an interpreter for the bundled server, preferably the one that runs this program.

    Raises:
        InterpreterError: There is none of a supported version, or it lacks its shared library or ensurepip.
    """
    unfit = None
    for candidate in _candidates():
        found = probe(candidate)
        if found is None or found.version not in SUPPORTED:
            continue
        if found.loads and found.has_pip:
            return found
        unfit = unfit or found
    raise _refusal(unfit)


def _candidates() -> Iterator[Path]:
    """Yield the running interpreter's executable, then those of supported versions on PATH."""
    if f"{sys.version_info.major}.{sys.version_info.minor}" in SUPPORTED:
        yield Path(sys.executable)
    for version in SUPPORTED:
        for folder in os.get_exec_path():
            found = shutil.which(f"python{version}", path=folder)
            if found:
                yield Path(found)


def _refusal(unfit: Interpreter | None) -> InterpreterError:
    """Build the error for a machine without a usable interpreter; `unfit` has the right version at least."""
    if unfit is None:
        return InterpreterError(
            f"The bundled Triton needs Python {' or '.join(sorted(SUPPORTED))}, and neither is on PATH",
            f"Debian, Ubuntu: apt install python3.11-venv libpython3.11, {ELSEWHERE}",
        )
    if not unfit.loads:
        return InterpreterError(
            f"{unfit.path} has no shared library (libpython{unfit.version}.so.1.0)",
            f"Debian, Ubuntu: apt install libpython{unfit.version}; pyenv: build with --enable-shared; "
            f"{ELSEWHERE}",
        )
    return InterpreterError(
        f"{unfit.path} cannot create virtual environments (no ensurepip)",
        f"Debian, Ubuntu: apt install python{unfit.version}-venv, {ELSEWHERE}",
    )
