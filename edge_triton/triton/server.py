"""Triton as a context manager: on loopback, checked by a real inference, gone without a trace."""

from __future__ import annotations

import os
import secrets
import socket
import threading
import time
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from edge_triton.client.client import EdgeClient, EdgeError
from edge_triton.triton.bundled import BundledTriton
from edge_triton.triton.container import OfficialTriton
from edge_triton.triton.model_spec import Backend, ModelSpec, TensorRt
from edge_triton.triton.reaped_process import ReapedProcess
from edge_triton.triton.repository import (
    MODELS,
    STYLE_ENCODER,
    STYLIZER,
    bundle_models,
    repository_models,
    write_model,
)
from edge_triton.triton.startup_errors import (
    PortTakenError,
    ServerDiedError,
    ServerStartError,
    is_fatal,
    last_line,
    start_error,
)
from edge_triton.triton.stub_processes import stubs
from mvstylizer.bundle import Bundle, load_bundle

__all__ = ["ServerDiedError", "ServerStartError", "TritonServer"]

HOST = "127.0.0.1"
CANARY_SIZE = 64
_ATTEMPTS = 3
_POLL_S = 0.05
_PROBE_S = 1.0
_LOAD_S = 60.0
_TENSORRT_S = 1800.0  # it builds an engine for each model: half an hour on a small GPU
_NATIVE_WARM_UP = ((1080, 1920),)  # a GPU chooses its algorithms at the first frame of a size


class TritonServer:
    """One tritonserver that serves a bundle's models over gRPC on loopback.

    It is the bundled one, on the CPU; inside NVIDIA's official container it is the container's.

    Entering starts it and returns when an inference through both models has worked; leaving stops it. A
    keeper process (see `keeper`) owns the server, its shared memory and its working folder, so nothing is
    left behind even when this process is killed. Ctrl-C in a terminal does not reach the server.

    Args:
        source: A bundle's folder, or a Triton repository with the two models. The attribute `sources` may be
            set to several bundles of different versions, which the next start serves side by side.
        port: gRPC port; 0 = a free one.
        workers: Stylizer instances (bundles only).
        threads: ONNX Runtime threads of one instance (bundles only); None = the usable cores, divided among
            the workers.
        start_timeout_s: How long the server may take until the first inference, in seconds.
        metrics: Let it show its numbers at `metrics_address`.
        tensorrt: Use TensorRT, with this shape profile (in the official container only).

    Attributes:
        load_timeout_s: How long it may take to load a version beside the others, in seconds.
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
        self.sources: tuple[Path, ...] = (source,)
        self._wanted_port = port
        self._workers = workers
        self._threads = threads if threads is not None else max(1, len(os.sched_getaffinity(0)) // workers)
        self.load_timeout_s = _LOAD_S if tensorrt is None else _TENSORRT_S
        self._start_timeout_s = start_timeout_s if tensorrt is None else _TENSORRT_S
        self._tensorrt = tensorrt
        self._metrics = metrics
        self._backend: Backend = "onnxruntime" if OfficialTriton().is_there() else "python"
        self._metrics_port = 0
        self._address = ""
        self._prefix = ""
        self._kept: ReapedProcess | None = None
        self._abandoned = threading.Event()

    @property
    def address(self) -> str:
        """``HOST:PORT`` of the running server."""
        return self._address

    @property
    def metrics_address(self) -> str:
        """``HOST:PORT`` of the running server's numbers for Prometheus."""
        return f"{HOST}:{self._metrics_port}"

    @property
    def prefix(self) -> str:
        """Start of the names of shared memory regions that go away with the running server."""
        return self._prefix

    @property
    def repository(self) -> Path:
        """The running server's model repository, made from bundles.

        Raises:
            ServerDiedError: It does not run.
        """
        return self._running().folder / "repository"

    def specs(self, bundle: Bundle, resident: tuple[int, ...]) -> tuple[ModelSpec, ...]:
        """Return a bundle's models as this server runs them.

        Args:
            bundle: Where they are described.
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
        """Tell whether a stub process of these versions is missing; the native backend has none."""
        if self._backend != "python":
            return False
        counts = {STYLE_ENCODER: 1, STYLIZER: self._workers}
        expected = Counter({(model, version): counts[model] for version in versions for model in MODELS})
        return bool(expected - stubs(self._running().pid))

    def abandon(self) -> None:
        """Let a `start` in another thread fail soon."""
        self._abandoned.set()

    def __enter__(self) -> TritonServer:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Start the server and wait until it stylizes.

        Raises:
            ServerStartError: It cannot run here, its port is taken, it is not ready in time, or it has no
                TensorRT.
            BundleError: The source is a bundle with a missing or changed file.
        """
        if self._tensorrt is not None and self._backend != "onnxruntime":
            raise ServerStartError("The bundled Triton has no TensorRT", "Use the official container")
        triton = OfficialTriton() if self._backend == "onnxruntime" else BundledTriton.find()
        if self._wanted_port:
            _check_port(self._wanted_port)
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                self._launch(triton, self._wanted_port or _free_port())
                return
            except PortTakenError:
                # Another program took the free port before the server did.
                self.stop()
                if self._wanted_port or attempt == _ATTEMPTS:
                    raise
            except BaseException:
                self.stop()
                raise

    def stop(self, grace_s: float = 0.0) -> None:
        """Stop the server and wait until no process, shared memory or file of it is left.

        Args:
            grace_s: How long requests in flight may take to finish, in seconds; 0 kills at once, which is
                right when this process was the only client.
        """
        kept, self._kept, self._address = self._kept, None, ""
        if kept is not None:
            kept.stop(grace_s)

    def check(self) -> None:
        """Return if the server's process runs.

        Raises:
            ServerDiedError: It has ended, or was never started.
        """
        kept = self._running()
        ending = kept.ending()
        if ending:
            line = last_line(kept.log())
            raise ServerDiedError(
                f"The bundled Triton {ending} while in use" + (f": {line}" if line else ""), "Start it again"
            )

    def _running(self) -> ReapedProcess:
        if self._kept is None:
            raise ServerDiedError("The bundled Triton is not running", "Start it first")
        return self._kept

    def _launch(self, triton: BundledTriton | OfficialTriton, port: int) -> None:
        """Lay out a working folder, start the server in it and wait for the canary."""
        token = secrets.token_hex(6)
        self._prefix = prefix = f"mvs_{token}_"
        self._kept = kept = ReapedProcess(prefix)
        triton.lay_out(kept.folder)
        repository, models = self.sources[0].resolve(), repository_models(self.sources[0])
        if not models:
            repository, models = self.repository, MODELS
            bundles = [load_bundle(source) for source in self.sources]
            resident = tuple(sorted(bundle.version for bundle in bundles))
            for spec in (spec for bundle in bundles for spec in self.specs(bundle, resident)):
                write_model(repository, spec)
        self._metrics_port = _free_port(other_than=port) if self._metrics else 0
        argv = triton.command(
            kept.folder,
            repository,
            models,
            port=port,
            metrics_port=self._metrics_port,
            server_id=token,
            prefix=prefix,
        )
        kept.run(argv, triton.environment(kept.folder))
        self._await_canary(kept, f"{HOST}:{port}", token)
        self._address = f"{HOST}:{port}"

    def _await_canary(self, kept: ReapedProcess, address: str, token: str) -> None:
        """Wait until the server with this id has answered one inference of each model."""
        deadline = time.monotonic() + self._start_timeout_s
        with EdgeClient(address, timeout_s=_PROBE_S, patience_s=0) as probe:
            while not _is_reached(probe, token):
                ending, log = kept.ending(), kept.log()
                if ending:
                    raise start_error(ending, kept.log())
                if is_fatal(log):
                    raise start_error("cannot start", log)
                if self._abandoned.is_set():
                    raise start_error("was stopped before it was ready", "")
                if time.monotonic() > deadline:
                    raise start_error(f"did not start within {self._start_timeout_s:g} s", log)
                time.sleep(_POLL_S)
        with EdgeClient(address, timeout_s=self._start_timeout_s, patience_s=0) as client:
            try:
                _canary(client)
            except EdgeError as err:
                line = last_line(kept.log()) or err.message
                raise start_error("started, but its models do not work", line) from err


def _is_reached(client: EdgeClient, token: str) -> bool:
    """Tell whether the server behind the client is ours; another may have won the race for the port."""
    try:
        return client.server_info().name == token
    except EdgeError:
        return False


def _canary(client: EdgeClient) -> None:
    """Send one small grey frame through both models."""
    grey = np.full((CANARY_SIZE, CANARY_SIZE, 3), 128, np.uint8)
    client.stylize(grey, client.encode_style(grey), reply="both")


def _free_port(other_than: int = 0) -> int:
    """Return a port that nothing listens on now; the system may name one twice, hence `other_than`."""
    while True:
        with socket.socket() as probe:
            probe.bind((HOST, 0))
            port = int(probe.getsockname()[1])
        if port != other_than:
            return port


def _check_port(port: int) -> None:
    """Refuse a port that is taken before the server is started for nothing."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError as err:
            raise PortTakenError(
                f"Port {port} cannot be used ({err.strerror})",
                "Choose another with --port, or stop the program that has it",
            ) from err
