"""Triton as a context manager: on loopback, proven by a real inference, fully cleaned up on exit.

with TritonServer(bundle_folder) as server, EdgeClient(server.address) as client:
    code = client.encode_style(photo)
"""

from __future__ import annotations

import os
import secrets
import threading
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from edge_triton.triton.bundled import BundledTriton
from edge_triton.triton.container import OfficialTriton
from edge_triton.triton.cpu_time import cpu_seconds
from edge_triton.triton.model_spec import Backend, ModelSpec, TensorRt
from edge_triton.triton.ports import HOST, check_port, free_port
from edge_triton.triton.reaped_process import ReapedProcess
from edge_triton.triton.repository import (
    MODELS,
    STYLE_ENCODER,
    STYLIZER,
    bundle_models,
    repository_models,
    write_model,
)
from edge_triton.triton.startup import await_first_inference
from edge_triton.triton.startup_errors import PortTakenError, ServerDiedError, ServerStartError, last_line
from edge_triton.triton.stub_processes import count_stubs
from mvstylizer.bundle import Bundle, load_bundle

__all__ = ["ServerDiedError", "ServerStartError", "TritonServer"]

_MAX_ATTEMPTS = 3
_LOAD_TIMEOUT_S = 60.0
_TENSORRT_TIMEOUT_S = 1800.0  # it builds an engine for each model: half an hour on a small GPU
_NATIVE_WARM_UP = ((1080, 1920),)  # a GPU selects its algorithms at the first frame of a size


class TritonServer:
    """One tritonserver that serves bundles over gRPC on loopback.

    On most machines this is the bundled server, on the CPU; inside NVIDIA's official container it is the
    container's.

    Entering starts the server and returns once an inference through both models has succeeded; leaving stops
    it. A reaper process (see `reaper`) owns the server, its shared memory and its working folder, so they are
    cleaned up even if this process is killed. Ctrl-C in a terminal does not reach the server.

    Args:
        source: Folder of a bundle, or a Triton repository with the two models.
        port: gRPC port; 0 = a free one.
        workers: Stylizer instances (bundles only).
        threads: ONNX Runtime threads of one instance (bundles only); None = the usable cores, divided among
            the workers.
        start_timeout_s: Time from start to the first inference, in seconds.
        metrics: Serve Prometheus metrics at `metrics_address`.
        tensorrt: Use TensorRT with this shape profile (in the official container only).

    Attributes:
        load_timeout_s: Time for loading a version next to the others, in seconds.
    """

    def __init__(
        self,
        source: Path,
        *,
        port: int = 0,
        workers: int = 1,
        threads: int | None = None,
        start_timeout_s: float = 60.0,
        metrics: bool = False,
        tensorrt: TensorRt | None = None,
    ) -> None:
        self._source = source
        self._requested_port = port
        self._workers = workers
        self._threads = threads if threads is not None else max(1, len(os.sched_getaffinity(0)) // workers)
        self.load_timeout_s = _LOAD_TIMEOUT_S if tensorrt is None else _TENSORRT_TIMEOUT_S
        self._start_timeout_s = start_timeout_s if tensorrt is None else _TENSORRT_TIMEOUT_S
        self._tensorrt = tensorrt
        self._metrics = metrics
        self._backend: Backend = "onnxruntime" if OfficialTriton().is_installed() else "python"
        self._metrics_port = 0
        self._address = ""
        self._prefix = ""
        self._process: ReapedProcess | None = None
        self._abandoned = threading.Event()

    @property
    def address(self) -> str:
        """``HOST:PORT`` of the running server."""
        return self._address

    @property
    def metrics_address(self) -> str:
        """``HOST:PORT`` of the running server's Prometheus metrics."""
        return f"{HOST}:{self._metrics_port}"

    @property
    def prefix(self) -> str:
        """Prefix of the names of shared memory regions that are removed with the running server."""
        return self._prefix

    @property
    def repository(self) -> Path:
        """The running server's model repository, written from bundles.

        Raises:
            ServerDiedError: The server is not running.
        """
        return self._running().folder / "repository"

    def specs(self, bundle: Bundle, resident: tuple[int, ...]) -> tuple[ModelSpec, ...]:
        """Return a bundle's models as this server runs them.

        Args:
            bundle: The bundle.
            resident: Versions that the configs serve.

        Raises:
            BundleError: A model is missing or differs from the manifest.
        """
        return bundle_models(
            bundle,
            backend=self._backend,
            instances=self._workers,
            threads=self._threads,
            resident=resident,
            warm_up=_NATIVE_WARM_UP if self._backend == "onnxruntime" else (),
            tensorrt=self._tensorrt,
        )

    def has_lost_a_stub(self, versions: Iterable[int]) -> bool:
        """Return whether a stub process of these versions is missing; the native backend has none."""
        if self._backend != "python":
            return False
        counts = {STYLE_ENCODER: 1, STYLIZER: self._workers}
        expected = Counter({(model, version): counts[model] for version in versions for model in MODELS})
        return bool(expected - count_stubs(self._running().pid))

    def cpu_seconds(self) -> float:
        """Return the CPU time that the server's processes have used so far, in seconds."""
        return cpu_seconds(self._running().pid)

    def abandon(self) -> None:
        """Make a `start` in another thread fail soon."""
        self._abandoned.set()

    def __enter__(self) -> TritonServer:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self, sources: Sequence[Path] = ()) -> None:
        """Start the server and wait until it stylizes.

        Args:
            sources: Bundles of different versions to serve side by side; empty = the constructor's source.

        Raises:
            ServerStartError: It cannot run here, its port is taken, it is not ready in time, or it has no
                TensorRT.
            BundleError: A file of a bundle is missing or changed.
        """
        if self._tensorrt is not None and self._backend != "onnxruntime":
            raise ServerStartError("The bundled Triton has no TensorRT", "Use the official container")
        triton = OfficialTriton() if self._backend == "onnxruntime" else BundledTriton.find()
        if self._requested_port:
            check_port(self._requested_port)
        for attempt in range(1, _MAX_ATTEMPTS + 1):
            try:
                self._launch(triton, self._requested_port or free_port(), sources or (self._source,))
                return
            except PortTakenError:
                # Another program took the free port before the server did.
                self.stop()
                if self._requested_port or attempt == _MAX_ATTEMPTS:
                    raise
            except BaseException:
                self.stop()
                raise

    def stop(self, grace_s: float = 0.0) -> None:
        """Stop the server and wait until its processes, shared memory and files are gone.

        Args:
            grace_s: Time for running requests to finish, in seconds; 0 kills at once, which is right if this
                process was the only client.
        """
        process, self._process, self._address = self._process, None, ""
        if process is not None:
            process.stop(grace_s)

    def check(self) -> None:
        """Return if the server's process is running.

        Raises:
            ServerDiedError: It has ended, or was never started.
        """
        process = self._running()
        ending = process.ending()
        if ending:
            line = last_line(process.log())
            raise ServerDiedError(
                f"The bundled Triton {ending} while in use" + (f": {line}" if line else ""), "Start it again"
            )

    def _running(self) -> ReapedProcess:
        if self._process is None:
            raise ServerDiedError("The bundled Triton is not running", "Start it first")
        return self._process

    def _launch(self, triton: BundledTriton | OfficialTriton, port: int, sources: Sequence[Path]) -> None:
        """Set up a working folder, start the server in it and wait for the first inference."""
        server_id = secrets.token_hex(6)
        self._prefix = prefix = f"mvs_{server_id}_"
        self._process = process = ReapedProcess(prefix)
        triton.lay_out(process.folder)
        repository, models = sources[0].resolve(), repository_models(sources[0])
        if not models:
            repository, models = self.repository, MODELS
            self._write_models(sources)
        self._metrics_port = free_port(other_than=port) if self._metrics else 0
        argv = triton.command(
            process.folder,
            repository,
            models,
            port=port,
            metrics_port=self._metrics_port,
            server_id=server_id,
            prefix=prefix,
        )
        process.run(argv, triton.environment(process.folder))
        address = f"{HOST}:{port}"
        await_first_inference(process, address, server_id, self._start_timeout_s, self._abandoned)
        self._address = address

    def _write_models(self, sources: Sequence[Path]) -> None:
        """Write bundles side by side into the working folder's repository."""
        bundles = [load_bundle(source) for source in sources]
        resident = tuple(sorted(bundle.version for bundle in bundles))
        for bundle in bundles:
            for spec in self.specs(bundle, resident):
                write_model(self.repository, spec)
