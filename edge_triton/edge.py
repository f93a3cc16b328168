"""The whole edge in one event loop: gateway, supervisor, rollout, Triton, health server."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path
from typing import Any

from edge_triton.gateway.admission import Tokens
from edge_triton.gateway.free_memory import return_free_memory
from edge_triton.gateway.gateway import Gateway
from edge_triton.gateway.health_server import HealthServer
from edge_triton.gateway.serving_state import ServingState
from edge_triton.gateway.spool import Spool
from edge_triton.lifecycle.release_folder import ReleaseFolder
from edge_triton.lifecycle.rollout import Releases
from edge_triton.lifecycle.supervisor import Supervisor
from edge_triton.metrics import Metrics, scrape_triton
from edge_triton.options import LOOPBACK, EdgeConfigError, EdgeOptions
from edge_triton.triton.model_spec import TensorRt
from edge_triton.triton.server import TritonServer
from mvstylizer.bundle import load_bundle

__all__ = ["Edge", "EdgeConfigError", "EdgeOptions"]

_LOG = logging.getLogger(__name__)
_SPOOL_INTERVAL_S = 600.0


class Edge:
    """One edge: `start` it, `run` it until cancelled, then `stop` it.

    Args:
        bundle: Folder of the bundle to serve.
        options: How it faces its clients.

    Attributes:
        metrics: Its metrics.
        releases: Changes the served version.

    Raises:
        BundleError: A file of the bundle is missing or changed.
        EdgeConfigError: The options are inconsistent or unsafe.
        SpoolError: The spool folder cannot be used.
        TokenFileError: The token file cannot be used.
    """

    def __init__(self, bundle: Path, options: EdgeOptions) -> None:
        options.check()
        self._options = options
        # Resolved, because a link like `current` may soon point to another release.
        served = load_bundle(bundle.resolve())
        self._state = ServingState(served)
        self.metrics = Metrics()
        self._state.add_gauges(self.metrics)
        tensorrt = TensorRt() if options.tensorrt else None
        self._server = TritonServer(
            served.path,
            workers=options.workers,
            threads=options.threads,
            metrics=True,
            tensorrt=tensorrt,
        )
        tokens = Tokens(options.token_file) if options.token_file else None
        self._spool = Spool(options.spool) if options.spool else None
        self._gateway = Gateway(self._state, options.limits, self.metrics, tokens, self._spool)
        self._supervisor = Supervisor(self._server, self._state, self.metrics, options.workers)
        self.releases = Releases(self._server, self._state, self.metrics)
        self._health = HealthServer(self._facts, self._metrics_text)
        self._port = self._health_port = 0

    @property
    def address(self) -> str:
        """``HOST:PORT`` of the gateway; its loopback address if it listens on all addresses."""
        return _address(self._options.host, self._port)

    @property
    def health_address(self) -> str:
        """``HOST:PORT`` of the health server."""
        return _address(self._options.health_host, self._health_port)

    async def start(self) -> None:
        """Open both ports, then start Triton.

        Raises:
            ServerStartError: Triton does not start, or a port is taken.
            BundleError: A file of the bundle is missing or changed.
            TlsFileError: A TLS file cannot be used.
        """
        options = self._options
        credentials = options.credentials()
        self._health_port = await self._health.listen(options.health_host, options.health_port)
        self._port = await self._gateway.listen(options.host, options.port, credentials)
        await self._supervisor.start()

    async def run(self) -> None:
        """Serve until cancelled.

        Raises:
            ServerDiedError: Triton keeps failing.
            BundleError: Triton must be restarted, and its bundle is missing or damaged.
        """
        works = (self._supervisor.run(), return_free_memory(self._state))
        tasks = [asyncio.ensure_future(work) for work in works]
        if self._spool is not None:
            tasks.append(asyncio.ensure_future(_expire(self._spool)))
        folder = None
        if self._options.watch is not None:
            folder = ReleaseFolder(self._options.watch, self._options.release_key)
            tasks.append(asyncio.ensure_future(self.releases.follow(folder)))
        try:
            await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
            if folder is not None:
                folder.close()

    async def stop(self, grace_s: float) -> None:
        """Report not ready, reject new requests, answer the running ones, then stop Triton.

        Args:
            grace_s: Time for the running requests, in seconds.
        """
        self._state.drain()
        await self._gateway.close(grace_s)
        await self._supervisor.stop()
        await self._health.close()

    def _facts(self) -> tuple[bool, dict[str, Any]]:
        return self._state.is_ready(), {
            "status": self._state.status,
            "version": self._state.version,
            "resident": sorted(self._state.bundles),
            "last_success_age_s": round(self._state.success_age_s, 1),
        }

    async def _metrics_text(self) -> str:
        return self.metrics.text() + await asyncio.to_thread(scrape_triton, self._server.metrics_address)


async def _expire(spool: Spool) -> None:
    """Delete expired files even if no new ones arrive."""
    while True:
        try:
            await asyncio.to_thread(spool.shrink)
        except OSError as err:
            _LOG.warning("spool: %s", err)
        await asyncio.sleep(_SPOOL_INTERVAL_S)


def _address(host: str, port: int) -> str:
    reachable = {"0.0.0.0": LOOPBACK, "::": "::1"}.get(host, host)
    return f"[{reachable}]:{port}" if ":" in reachable else f"{reachable}:{port}"
