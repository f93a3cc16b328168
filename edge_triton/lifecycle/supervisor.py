"""Keeps Triton answering: watches its processes, sends canary inferences, and restarts it when they fail.

Triton's own ready endpoints report success while the model is dead, so they are not used. Every
failure has one remedy, a restart of the whole server: it takes about a second, and the reaper removes the old
server's processes and shared memory.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections import deque

from edge_triton.gateway.serving_state import ServingState
from edge_triton.gateway.triton_channel import TritonChannel
from edge_triton.lifecycle.canary import run_canary
from edge_triton.metrics import Metrics
from edge_triton.triton.server import TritonServer
from edge_triton.triton.startup_errors import ServerDiedError, ServerStartError
from mvstylizer.bundle import BundleError

_LOG = logging.getLogger(__name__)
_POLL_S = 0.2
_CANARY_AFTER_S = 1.0  # without a successful request
_MAX_CANARY_INTERVAL_S = 5.0
_CANARY_TIMEOUT_S = 5.0
_STUCK_AFTER_S = 120.0
_MIN_CPU_S = 0.25  # of the canary's time; a computing server uses several seconds of it
_SLOTS_PER_WORKER = 2  # one request computes while the next one is transferred
_MAX_RESTARTS = 5
_RESTART_WINDOW_S = 60.0
_MIN_PAUSE_S = 0.25
_MAX_PAUSE_S = 8.0


class Supervisor:
    """Starts, watches, restarts and stops Triton. Belongs to one event loop.

    Args:
        server: The server, not yet started.
        state: Receives the running server's channel, and loses it while there is none.
        metrics: Metrics of this edge.
        workers: Stylizer instances of the server.
    """

    def __init__(self, server: TritonServer, state: ServingState, metrics: Metrics, workers: int) -> None:
        self._server = server
        self._state = state
        self._metrics = metrics
        self._workers = workers
        self._restarts: deque[float] = deque()

    async def start(self) -> None:
        """Start Triton with the state's bundles, and connect to it.

        Raises:
            ServerStartError: It does not start.
            BundleError: A file of a bundle is missing or changed.
        """
        sources = [bundle.path for bundle in self._state.bundles.values()]
        starting = asyncio.ensure_future(asyncio.to_thread(self._server.start, sources))
        try:
            await asyncio.shield(starting)
        except asyncio.CancelledError:
            self._server.abandon()
            await asyncio.wait([starting])
            raise
        slots = _SLOTS_PER_WORKER * self._workers
        self._state.connect(TritonChannel(self._server.address, self._server.prefix, slots))

    async def stop(self) -> None:
        """Stop Triton; close the gateway first."""
        await self._disconnect()
        await asyncio.to_thread(self._server.stop)

    async def run(self) -> None:
        """Watch Triton and restart it when it fails, until cancelled.

        Raises:
            ServerDiedError: Triton was restarted too often within a minute.
            BundleError: A file of a bundle is missing or changed.
        """
        while True:
            cause = await self._failure()
            async with self._state.changing:
                _LOG.warning("restarting Triton: %s", cause)
                await self._restart(cause)

    async def _failure(self) -> str:
        """Wait for a failure, and return its cause."""
        last_canary = 0.0
        while True:
            async with self._state.changing:
                cause = self._process_failure()
                # Successful requests count as canaries too, but may use only one of the two models.
                is_due = (
                    self._state.check_requested.is_set()
                    or self._state.success_age_s > _CANARY_AFTER_S
                    or time.monotonic() - last_canary > _MAX_CANARY_INTERVAL_S
                )
                if not cause and is_due:
                    self._state.check_requested.clear()
                    used_s = self._cpu_seconds()
                    cause = await self._canary_failure()
                    if cause == "late" and self._is_stuck(self._cpu_seconds() - used_s):
                        cause = "stuck"
                    last_canary = time.monotonic()
            if cause and cause != "late":
                return cause
            await asyncio.sleep(_POLL_S)

    def _is_stuck(self, used_s: float) -> bool:
        """Return whether a late canary means more than a busy server: one that does not compute, or for ever.

        Args:
            used_s: CPU time that the server has used while it owed the canary, in seconds.
        """
        age_s = self._state.success_age_s
        return age_s > _STUCK_AFTER_S or (age_s > _CANARY_TIMEOUT_S and used_s < _MIN_CPU_S)

    def _cpu_seconds(self) -> float:
        try:
            return self._server.cpu_seconds()
        except (ServerDiedError, OSError):  # the check of the processes reports the first
            return math.inf

    def _process_failure(self) -> str:
        """Check the processes: quicker than an inference, which takes a second to notice a dead stub."""
        try:
            self._server.check()
            return "stub_died" if self._server.has_lost_a_stub(self._state.bundles) else ""
        except ServerDiedError:
            return "server_died"
        except OSError as err:  # no file descriptors left, for example: says nothing about Triton
            _LOG.warning("Triton's processes cannot be checked: %s", err)
            return ""

    async def _canary_failure(self) -> str:
        """Run a canary, and abort it if a process dies; return an empty string if it succeeds."""
        task = asyncio.ensure_future(run_canary(self._state, self._state.version, _CANARY_TIMEOUT_S))
        cause = ""
        try:
            while not cause and not (await asyncio.wait([task], timeout=_POLL_S))[0]:
                cause = self._process_failure()
            result = cause or task.result()
        finally:
            task.cancel()
        self._metrics.canaries.labels(result).inc()
        return "" if result == "good" else result

    async def _restart(self, cause: str) -> None:
        """Replace Triton; if it does not start, retry with exponential backoff."""
        while True:
            self._metrics.restarts.labels(cause).inc()
            await self._disconnect()
            await asyncio.to_thread(self._server.stop)
            await asyncio.sleep(self._pause_s())
            self._drop_unusable()
            try:
                await self.start()
                return
            except (OSError, ServerStartError) as err:
                cause = "start_failed"
                _LOG.warning("%s", err)

    def _drop_unusable(self) -> None:
        """Drop the versions whose bundle was removed or damaged, as long as a version is left.

        Raises:
            BundleError: None is left.
        """
        usable, error = [], None
        for version, bundle in self._state.bundles.items():
            try:
                self._server.specs(bundle, ())
                usable.append(version)
            except BundleError as err:
                error = err
                _LOG.warning("dropping version %d: %s", version, err)
            except OSError as err:  # it cannot be read at the moment, which says nothing about the bundle
                usable.append(version)
                _LOG.warning("version %d cannot be checked: %s", version, err)
        if error is not None and not usable:
            raise error
        self._state.retain(usable)

    def _pause_s(self) -> float:
        """Return how long to wait before this restart, in seconds.

        Raises:
            ServerDiedError: There were too many restarts.
        """
        now = time.monotonic()
        while self._restarts and now - self._restarts[0] > _RESTART_WINDOW_S:
            self._restarts.popleft()
        if len(self._restarts) >= _MAX_RESTARTS:
            raise ServerDiedError(
                f"The bundled Triton was restarted more than {_MAX_RESTARTS} times within"
                f" {_RESTART_WINDOW_S:g} s",
                "Read the log above, and check the memory and disk of this machine",
            )
        self._restarts.append(now)
        if len(self._restarts) == 1:
            return 0.0
        return min(_MIN_PAUSE_S * 2.0 ** (len(self._restarts) - 1), _MAX_PAUSE_S)

    async def _disconnect(self) -> None:
        channel = self._state.disconnect()
        if channel is not None:
            await channel.close()
