"""The bundled server's own environment: where it is, and whether it is complete.

tritonserver comes in the wheel of nvidia-pytriton, whose python backend works with NumPy 1 only. A virtual
environment of its own keeps that out of the kit's dependencies. `install.install_server` creates it once per
user, in the cache folder; the variable ``MVSTYLIZER_TRITON`` names another folder.
"""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

from edge_triton.triton.startup_errors import ELSEWHERE, ServerStartError

VARIABLE = "MVSTYLIZER_TRITON"
INSTALL = "mvstylizer serve --install"
REQUIREMENTS = Path(__file__).with_name("requirements.txt")
RECORD = "mvstylizer.json"
"""Written last: an environment that has it is complete."""
STUB = "triton_python_backend_stub"


class ServerEnvironmentError(ServerStartError):
    """The bundled server is not installed, or its environment is damaged."""


def server_folder() -> Path:
    """Return the environment's folder: ``MVSTYLIZER_TRITON``, or one in the user's cache.

    The name in the cache changes with the pinned requirements, so an upgrade of the kit that pins other
    packages installs its server anew.
    """
    chosen = os.environ.get(VARIABLE)
    if chosen:
        return Path(chosen).expanduser().absolute()
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return cache / "mvstylizer" / f"triton-{requirements_digest()[:12]}"


def requirements_digest() -> str:
    """Return the SHA-256 of the pinned requirements, hexadecimal."""
    return hashlib.sha256(REQUIREMENTS.read_bytes()).hexdigest()


@dataclass(frozen=True)
class ServerEnvironment:
    """A complete environment.

    Attributes:
        folder: The virtual environment.
        python: Its Python's major and minor version, for example ``3.11``.
        library: Python's shared library; empty if the system's loader finds it.
        requirements: SHA-256 of the requirements that were installed, hexadecimal.
    """

    folder: Path
    python: str
    library: str
    requirements: str

    @classmethod
    def find(cls, folder: Path | None = None) -> ServerEnvironment:
        """Read the environment's record and check that what it names is still there.

        Args:
            folder: The environment; None = `server_folder`.

        Raises:
            ServerEnvironmentError: It is not installed, was made for other requirements, or is damaged.
        """
        folder = folder or server_folder()
        try:
            record = json.loads((folder / RECORD).read_text())
            environment = cls(folder, record["python"], record["library"], record["requirements"])
        except FileNotFoundError:
            raise ServerEnvironmentError(
                "The bundled Triton is not installed", f"Run: {INSTALL}, {ELSEWHERE}"
            ) from None
        except (OSError, ValueError, KeyError, TypeError) as err:
            raise _damaged(folder, f"unreadable {RECORD}: {err}") from err
        if environment.requirements != requirements_digest():
            raise ServerEnvironmentError(
                f"The bundled Triton in {folder} belongs to another release", f"Run: {INSTALL}, {ELSEWHERE}"
            )
        for path in (environment.interpreter, environment.stub, Path(environment.library or folder)):
            if not path.exists():
                raise _damaged(folder, f"no {path}")
        return environment

    def write(self) -> None:
        """Write the record, which makes the environment complete."""
        record = {key: value for key, value in asdict(self).items() if key != "folder"}
        (self.folder / RECORD).write_text(json.dumps(record) + "\n")

    @property
    def interpreter(self) -> Path:
        """The environment's Python. The stub takes the first ``python3`` on PATH for its own."""
        return self.folder / "bin" / "python3"

    @property
    def root(self) -> Path:
        """The server's files inside the installed wheel."""
        packages = self.folder / "lib" / f"python{self.python}" / "site-packages"
        return packages / "pytriton" / "tritonserver"

    @property
    def stub(self) -> Path:
        """The python backend's stub for this Python version."""
        return self.root / "python_backend_stubs" / self.python / STUB


def _damaged(folder: Path, reason: str) -> ServerEnvironmentError:
    return ServerEnvironmentError(
        f"The bundled Triton in {folder} is damaged ({reason})", f"Run: {INSTALL}, {ELSEWHERE}"
    )
