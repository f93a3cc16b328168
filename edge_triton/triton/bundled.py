"""The tritonserver inside the nvidia-pytriton wheel: where it is, and what it needs around it.

Three things make it start, none of them documented:

- Its stub must be a *symlink* into the wheel: it finds its libraries relative to its own real path.
- The stub embeds an isolated Python (`-I`): it ignores PYTHONPATH and PYTHONHOME and takes its prefix from
  the first ``python3`` on PATH. With the wrong one it imports another NumPy, or none. So it gets a small
  virtual environment of its own, whose path file names the folders of our NumPy and ONNX Runtime.
- It links to ``libpython3.X.so.1.0``, which the loader finds only where LD_LIBRARY_PATH says.
"""

from __future__ import annotations

import importlib.util
import os
import sys
import sysconfig
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from edge_triton.triton.model_spec import Backend
from edge_triton.triton.server_options import common_options
from edge_triton.triton.startup_errors import ELSEWHERE, ServerStartError

PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"
STUB = "triton_python_backend_stub"
SHARED_MEMORY = Path("/dev/shm")
REGION_BYTES = 16 << 20
"""Shared memory of one model instance at start: holds a 1080p frame and its reply; Triton grows it."""


@dataclass(frozen=True)
class BundledTriton:
    """The server's files inside the installed wheel.

    Attributes:
        root: The wheel's ``tritonserver`` folder.
        backend: Which backend runs the models.
    """

    root: Path
    backend: Backend = "python"

    @classmethod
    def find(cls) -> BundledTriton:
        """Find the server in the installed packages, without importing them.

        Raises:
            ServerStartError: Not installed (it exists for Linux only), or not for this Python version.
        """
        spec = importlib.util.find_spec("pytriton")
        if spec is None or spec.origin is None:
            raise ServerStartError(
                "The bundled Triton is not installed (package nvidia-pytriton, Linux only)",
                f"Run on Linux: pip install nvidia-pytriton==0.7.0, {ELSEWHERE}",
            )
        triton = cls(Path(spec.origin).parent / "tritonserver")
        if not triton.stub.is_file():
            versions = sorted((p.name for p in triton.stub.parents[1].glob("3.*")), key=lambda v: int(v[2:]))
            raise ServerStartError(
                f"The bundled Triton has no stub for Python {PYTHON}, only for {', '.join(versions)}",
                f"Install the kit under one of these Python versions, {ELSEWHERE}",
            )
        return triton

    @property
    def server(self) -> Path:
        """The server's binary."""
        return self.root / "bin" / "tritonserver"

    @property
    def stub(self) -> Path:
        """The python backend's stub for this Python version."""
        return self.root / "python_backend_stubs" / PYTHON / STUB

    def lay_out(self, folder: Path) -> None:
        """Make the backend folder, the stub's virtual environment and its library folder in `folder`.

        Raises:
            ServerStartError: NumPy or ONNX Runtime is not installed.
        """
        backend = folder / "backends" / "python"
        backend.mkdir(parents=True)
        for name in ("libtriton_python.so", "triton_python_backend_utils.py"):
            (backend / name).symlink_to(self.root / "backends" / "python" / name)
        (backend / STUB).symlink_to(self.stub)
        packages = folder / "python" / "lib" / f"python{PYTHON}" / "site-packages"
        packages.mkdir(parents=True)
        (packages / "mvstylizer.pth").write_text("".join(f"{path}\n" for path in _package_folders()))
        (folder / "python" / "bin").mkdir()
        (folder / "python" / "bin" / "python3").symlink_to(Path(sys.executable).resolve())
        (folder / "python" / "pyvenv.cfg").write_text(
            f"home = {Path(sys.base_exec_prefix) / 'bin'}\ninclude-system-site-packages = false\n"
        )
        (folder / "lib").mkdir()
        for library in _python_libraries():
            (folder / "lib" / library.name).symlink_to(library)

    def environment(self, folder: Path) -> dict[str, str]:
        """Return the server's environment variables for a folder that `lay_out` made."""
        libraries = [str(folder / "lib"), os.environ.get("LD_LIBRARY_PATH", "")]
        return {
            **os.environ,
            "PATH": os.pathsep.join([str(folder / "python" / "bin"), os.environ.get("PATH", os.defpath)]),
            "LD_LIBRARY_PATH": os.pathsep.join(path for path in libraries if path),
            # The models run on the CPU here; without this the server takes memory on every GPU it sees.
            "CUDA_VISIBLE_DEVICES": "",
            # ONNX Runtime's Linux wheels report to Microsoft unless told not to.
            "ORT_DISABLE_TELEMETRY": "1",
            # NumPy is loaded in every stub but computes nothing there.
            "OPENBLAS_NUM_THREADS": "1",
        }

    def command(
        self,
        folder: Path,
        repository: Path,
        models: Sequence[str],
        *,
        port: int,
        metrics_port: int,
        server_id: str,
        prefix: str,
    ) -> list[str]:
        """Return the server's command line: gRPC and metrics on loopback, the named models loaded.

        Args:
            folder: What `lay_out` made.
            repository: Model repository.
            models: Names of the models to load; the server ends when one fails.
            port: gRPC port.
            metrics_port: HTTP port of Prometheus' numbers; 0 = none.
            server_id: Name that the server reports, by which a client knows that it reached this one.
            prefix: Start of the names of its shared memory regions.
        """
        return [
            str(self.server),
            f"--backend-directory={folder / 'backends'}",
            *common_options(repository, models, port=port, metrics_port=metrics_port, server_id=server_id),
            "--allow-gpu-metrics=false",
            "--pinned-memory-pool-byte-size=0",
            f"--backend-config=python,shm-region-prefix-name={prefix}",
            f"--backend-config=python,shm-default-byte-size={_region_bytes()}",
        ]


def _package_folders() -> Iterable[Path]:
    folders = []
    for package in ("numpy", "onnxruntime"):
        spec = importlib.util.find_spec(package)
        if spec is None or spec.origin is None:
            raise ServerStartError(
                f"The package {package} is not installed",
                "Install the kit again: pip install --force-reinstall mvstylizer",
            )
        folders.append(Path(spec.origin).parents[1])
    return dict.fromkeys(folders)


def _python_libraries() -> list[Path]:
    """Return where this Python's shared library is; empty leaves it to the system's loader."""
    folders = (sysconfig.get_config_var("LIBDIR"), Path(sys.base_exec_prefix) / "lib")
    found = (Path(folder) / f"libpython{PYTHON}.so.1.0" for folder in folders if folder)
    return [path for path in found if path.is_file()][:1]


def _region_bytes() -> int:
    """Return the start size of a shared memory region, smaller where /dev/shm is (Docker gives 64 MB)."""
    room = os.statvfs(SHARED_MEMORY)
    eighth = room.f_bavail * room.f_frsize // 8
    return max(1 << 20, min(REGION_BYTES, eighth >> 20 << 20))
