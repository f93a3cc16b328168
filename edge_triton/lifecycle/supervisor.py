"""What keeps Triton answering: a canary inference, and a restart when it fails.

Triton's own ready endpoints say yes while the model behind them is dead, so they are never asked. There is
one cure for everything, a restart of the whole server: it takes about a second, and the keeper removes the
old one's processes and shared memory with it.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Awaitable
from typing import Any

import grpc
import numpy as np
from numpy.typing import NDArray

from edge_triton.gateway.gateway import Gateway
from edge_triton.gateway.triton_channel import TritonChannel, TritonChannelClosedError
from edge_triton.metrics import Metrics
from edge_triton.triton.repository import STYLE_ENCODER, STYLIZER
from edge_triton.triton.server import CANARY_SIZE, TritonServer
from edge_triton.triton.startup_errors import ServerDiedError, ServerStartError
from mvstylizer.bundle import BundleError

_LOG = logging.getLogger(__name__)
_POLL_S = 0.2
_CANARY_S = 1.0
_MIN_OFTEN_S = 5.0
_CANARY_WAIT_S = 5.0
_FRESH_S = 10.0
_STUCK_S = 120.0
_SLOTS = 2  # for each worker: one request is computed while the next one is already there
_MAX_RESTARTS = 5
_WITHIN_S = 60.0
_MAX_PAUSE_S = 8.0


class Supervisor:
    """Owns Triton's life under a gateway; belongs to one event loop.

    Args:
        server: The server, not yet started.
        gateway: Gets the running server's connection, and loses it while there is none.
        metrics: Where it counts.
        workers: Stylizer instances of the server.

    Attributes:
        changing: Held while Triton is restarted or loads models: what happens then is no trouble.
    """

    def __init__(self, server: TritonServer, gateway: Gateway, metrics: Metrics, workers: int) -> None:
        self.changing = asyncio.Lock()
        self._server = server
        self._gateway = gateway
        self._metrics = metrics
        self._workers = workers
        self._hint = asyncio.Event()
        self._restarts: deque[float] = deque()
        metrics.gauge("mvstylizer_up", lambda: self.is_ready())
        metrics.gauge("mvstylizer_last_success_age_seconds", lambda: self.age_s)
        metrics.gauge(
            "mvstylizer_shared_memory_bytes", lambda: gateway.upstream.shared_bytes if gateway.upstream else 0
        )

    @property
    def age_s(self) -> float:
        """Time since the last inference that worked, in seconds."""
        return time.monotonic() - self._gateway.last_success

    def is_ready(self) -> bool:
        """Tell the truth: an inference has worked within the last seconds, and Triton is there."""
        return self._gateway.upstream is not None and self.age_s < _FRESH_S

    def look(self) -> None:
        """Have a look at Triton at once; a request has failed in a way that points to it."""
        self._hint.set()

    async def start(self) -> None:
        """Start Triton and connect the gateway to it.

        Raises:
            ServerStartError: It does not start.
            BundleError: A file of a bundle is missing or changed.
        """
        starting = asyncio.ensure_future(asyncio.to_thread(self._server.start))
        try:
            await asyncio.shield(starting)
        except asyncio.CancelledError:
            self._server.abandon()
            await asyncio.wait([starting])
            raise
        self._gateway.upstream = TritonChannel(
            self._server.address, self._server.prefix, _SLOTS * self._workers
        )
        self._gateway.last_success = time.monotonic()  # the start ends with an inference

    async def stop(self) -> None:
        """Stop Triton; the gateway must be closed before."""
        await self._disconnect()
        await asyncio.to_thread(self._server.stop)

    async def run(self) -> None:
        """Watch and heal until cancelled.

        Raises:
            ServerDiedError: Triton was restarted too often within a minute.
            BundleError: A file of a bundle is missing or changed.
        """
        while True:
            cause = await self._trouble()
            async with self.changing:
                _LOG.warning("restarting Triton: %s", cause)
                await self._restart(cause)

    async def _trouble(self) -> str:
        """Return what is wrong, once something is."""
        last = 0.0
        while True:
            async with self.changing:
                cause = self._process_trouble()
                # Requests that work are canaries too; but they may use one of the two models only.
                overdue = self.age_s > _CANARY_S or time.monotonic() - last > _MIN_OFTEN_S
                if not cause and (overdue or self._hint.is_set()):
                    self._hint.clear()
                    cause = await self._watched(self.canary(self._gateway.version))
                    last = time.monotonic()
                    self._metrics.count("mvstylizer_canaries_total", result=cause or "good")
            if not cause and self.age_s > _STUCK_S:
                cause = "stuck"
            if cause and cause != "late":
                return cause
            await asyncio.sleep(_POLL_S)

    def _process_trouble(self) -> str:
        """Look at the processes: quicker than an inference, which waits a second for a dead stub."""
        try:
            self._server.check()
        except ServerDiedError:
            return "server_died"
        return "stub_died" if self._server.has_lost_a_stub(self._gateway.bundles) else ""

    async def _watched(self, canary: Awaitable[str]) -> str:
        """Await a canary, but no longer than the processes live."""
        task = asyncio.ensure_future(canary)
        try:
            while not (await asyncio.wait([task], timeout=_POLL_S))[0]:
                cause = self._process_trouble()
                if cause:
                    return cause
            return task.result()
        finally:
            task.cancel()

    async def canary(self, version: int, wait_s: float = _CANARY_WAIT_S) -> str:
        """Send a small grey frame through both models of a version.

        Args:
            version: A loaded one.
            wait_s: How long it may take, in seconds.

        Returns:
            An empty string, ``failed``, or ``late``, which a busy server may be.
        """
        upstream = self._gateway.upstream
        if upstream is None:
            return "failed"
        grey = np.full((1, CANARY_SIZE, CANARY_SIZE, 3), 128, np.uint8)
        try:
            async with asyncio.timeout(wait_s):
                code = await upstream.infer(STYLE_ENCODER, version, {"style": grey}, {"style_code": 0})
                tensors: dict[str, NDArray[Any]] = {
                    "frame": grey,
                    "style_code": np.frombuffer(code["style_code"].data, np.float32)[None],
                    "r": np.ones(1, np.float32),
                }
                got = await upstream.infer(STYLIZER, version, tensors, {"stylized": 0, "affine_map": 0})
        except TimeoutError:
            return "late"
        except (grpc.aio.AioRpcError, TritonChannelClosedError):
            return "failed"
        if got["stylized"].shape != grey.shape or not _is_finite(got["affine_map"].data):
            return "failed"
        self._gateway.last_success = time.monotonic()
        return ""

    async def _restart(self, cause: str) -> None:
        """Replace Triton, again when it does not start, with growing pauses, until that is hopeless."""
        while True:
            self._metrics.count("mvstylizer_restarts_total", cause=cause)
            await self._disconnect()
            await asyncio.to_thread(self._server.stop)
            await asyncio.sleep(self._pause_s())
            self._drop_missing()
            try:
                await self.start()
                return
            except ServerStartError as err:
                cause = "start_failed"
                _LOG.warning("%s", err)

    def _drop_missing(self) -> None:
        """Go on without a version whose bundle was taken away or damaged, if another one is there.

        Raises:
            BundleError: None is there.
        """
        good = {}
        for version, bundle in self._gateway.bundles.items():
            try:
                self._server.specs(bundle, ())
                good[version] = bundle
            except BundleError as err:
                if not good and version == max(self._gateway.bundles):
                    raise
                _LOG.warning("going on without version %d: %s", version, err)
        self._gateway.bundles = good
        if self._gateway.version not in good:
            self._gateway.version = max(good)
        self._server.sources = tuple(bundle.path for bundle in good.values())

    def _pause_s(self) -> float:
        """Return how long to wait before this restart.

        Raises:
            ServerDiedError: There were too many.
        """
        now = time.monotonic()
        while self._restarts and now - self._restarts[0] > _WITHIN_S:
            self._restarts.popleft()
        if len(self._restarts) >= _MAX_RESTARTS:
            raise ServerDiedError(
                f"The bundled Triton had to be restarted more than {_MAX_RESTARTS} times within"
                f" {_WITHIN_S:g} s",
                "Look at the log above, and check memory and disk of this machine",
            )
        self._restarts.append(now)
        pause_s = 0.25 * 2.0 ** (len(self._restarts) - 1)
        return 0.0 if len(self._restarts) == 1 else min(pause_s, _MAX_PAUSE_S)

    async def _disconnect(self) -> None:
        upstream, self._gateway.upstream = self._gateway.upstream, None
        if upstream is not None:
            await upstream.close()


def _is_finite(data: bytes) -> bool:
    return bool(np.isfinite(np.frombuffer(data, np.float32)).all())
