"""The tritonserver of NVIDIA's official container: GPU, and the native onnxruntime backend.

Inside that container `mvstylizer serve` starts this server instead of the bundled one; gateway, supervisor
and reaper are the same. Based on the documentation of 2.69 and later; see container/Dockerfile.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from edge_triton.triton.model_spec import Backend
from edge_triton.triton.server_options import common_options

CONTAINER = Path("/opt/tritonserver")


@dataclass(frozen=True)
class OfficialTriton:
    """The server's files inside the container.

    Attributes:
        root: Installation folder.
        backend: Which backend runs the models.
    """

    root: Path = CONTAINER
    backend: Backend = "onnxruntime"

    @property
    def server(self) -> Path:
        """The server binary."""
        return self.root / "bin" / "tritonserver"

    def is_installed(self) -> bool:
        """Return whether this program runs inside such a container."""
        return self.server.is_file() and (self.root / "backends" / self.backend).is_dir()

    def lay_out(self, folder: Path) -> None:
        """Do nothing: in the container everything is in place."""

    def environment(self, folder: Path) -> dict[str, str]:
        """Return the server's environment variables."""
        return {**os.environ, "ORT_DISABLE_TELEMETRY": "1"}

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
        """Return the server's command line; see `BundledTriton.command`."""
        return [
            str(self.server),
            f"--backend-directory={self.root / 'backends'}",
            *common_options(repository, models, port=port, metrics_port=metrics_port, server_id=server_id),
            # Since 2.69 client shared memory is off by default; older servers do not know the option.
            *(["--allow-client-shm=true"] if self._knows("--allow-client-shm") else []),
        ]

    def _knows(self, option: str) -> bool:
        usage = subprocess.run([self.server, "--help"], capture_output=True, text=True, check=False)
        return option in usage.stdout + usage.stderr
