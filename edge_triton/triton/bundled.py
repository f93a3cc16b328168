"""The bundled tritonserver: how the server in the nvidia-pytriton wheel is started.

Three things make it start, none of them documented:

- Its stub must be a *symlink* into the wheel: it finds its libraries relative to its own real path.
- The stub embeds an isolated Python (`-I`): it ignores PYTHONPATH and PYTHONHOME and takes its prefix from
  the first ``python3`` on PATH. That must be the server environment's, for its NumPy and ONNX Runtime.
- It links to ``libpython3.X.so.1.0``, which the loader finds only where LD_LIBRARY_PATH says.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from edge_triton.triton import reaper
from edge_triton.triton.environment import STUB, ServerEnvironment
from edge_triton.triton.model_spec import Backend
from edge_triton.triton.server_options import common_options

SHARED_MEMORY = Path("/dev/shm")
ALIVE = "MVSTYLIZER_ALIVE"  # read by python_backend/model.py, which cannot import this
REGION_BYTES = 16 << 20
"""Shared memory of one model instance at start: holds a 1080p frame and its reply; Triton grows it."""


@dataclass(frozen=True)
class BundledTriton:
    """The bundled server.

    Attributes:
        installed: The environment that contains it.
        backend: Which backend runs the models.
    """

    installed: ServerEnvironment
    backend: Backend = "python"

    @classmethod
    def find(cls) -> BundledTriton:
        """Find the installed server.

        Raises:
            ServerEnvironmentError: It is not installed, or damaged.
        """
        return cls(ServerEnvironment.find())

    @property
    def server(self) -> Path:
        """The server's binary."""
        return self.installed.root / "bin" / "tritonserver"

    def lay_out(self, folder: Path) -> None:
        """Create the backend folder and the folder of Python's shared library in `folder`."""
        backend = folder / "backends" / "python"
        backend.mkdir(parents=True)
        for name in ("libtriton_python.so", "triton_python_backend_utils.py"):
            (backend / name).symlink_to(self.installed.root / "backends" / "python" / name)
        (backend / STUB).symlink_to(self.installed.stub)
        (folder / "lib").mkdir()
        if self.installed.library:
            library = Path(self.installed.library)
            (folder / "lib" / library.name).symlink_to(library)

    def environment(self, folder: Path) -> dict[str, str]:
        """Return the server's environment variables for a folder that `lay_out` made."""
        libraries = [str(folder / "lib"), os.environ.get("LD_LIBRARY_PATH", "")]
        return {
            **os.environ,
            "PATH": os.pathsep.join([str(self.installed.folder / "bin"), os.environ.get("PATH", os.defpath)]),
            "LD_LIBRARY_PATH": os.pathsep.join(path for path in libraries if path),
            # The models run on the CPU; without this the server takes memory on every GPU it sees.
            "CUDA_VISIBLE_DEVICES": "",
            # ONNX Runtime's Linux wheels send telemetry to Microsoft by default.
            "ORT_DISABLE_TELEMETRY": "1",
            ALIVE: str(folder / reaper.ALIVE),
            # Every stub loads NumPy but computes nothing with it.
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
            folder: The folder that `lay_out` filled.
            repository: Model repository.
            models: Names of the models to load; the server exits if one fails.
            port: gRPC port.
            metrics_port: HTTP port of the Prometheus metrics; 0 = none.
            server_id: Name that the server reports, so that a client can tell it from another server.
            prefix: Prefix of the names of its shared memory regions.
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


def _region_bytes() -> int:
    """Return the start size of a shared memory region, smaller where /dev/shm is (Docker gives 64 MB)."""
    room = os.statvfs(SHARED_MEMORY)
    eighth = room.f_bavail * room.f_frsize // 8
    return max(1 << 20, min(REGION_BYTES, eighth >> 20 << 20))
