"""The whole edge in one event loop: gateway, supervisor, Triton, health door."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import urllib.request
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import grpc

from edge_triton.client.client import check_address
from edge_triton.gateway.admission import Tokens
from edge_triton.gateway.gateway import Gateway
from edge_triton.gateway.guard import Limits
from edge_triton.gateway.health_server import HealthServer
from edge_triton.gateway.spool import Spool
from edge_triton.lifecycle.release_folder import WatchedFolder
from edge_triton.lifecycle.rollout import Releases
from edge_triton.lifecycle.supervisor import Supervisor
from edge_triton.metrics import Metrics
from edge_triton.triton.model_spec import TensorRt
from edge_triton.triton.server import TritonServer
from mvstylizer.bundle import load_bundle
from mvstylizer.errors import MVStylizerError, need_extra

HOST = "127.0.0.1"
_SCRAPE_S = 2.0
_AGE_S = 600.0


class EdgeConfigError(MVStylizerError):
    """The edge is asked to run in a way that it must not."""


@dataclass(frozen=True)
class EdgeOptions:
    """How an edge faces its clients.

    Attributes:
        host: Address that the gateway listens on.
        port: Its gRPC port; 0 = a free one.
        health_host: Address of the health door.
        health_port: Its port; 0 = a free one.
        workers: Stylizer instances.
        tls_cert: Certificate chain (PEM).
        tls_key: Its private key (PEM).
        client_ca: Who signs client certificates (PEM); given, a client must show one.
        token_file: Bearer tokens, see `Tokens`.
        spool: Folder for what clients allow to be learnt from, see `Spool`; None = nothing is kept.
        watch: Folder whose bundles are releases, see `Releases.follow`.
        release_key: Public key (PEM) whose signature a watched bundle needs; None = none.
        tensorrt: Use TensorRT (in the official container); building its engines takes minutes at each start.
        insecure: Listen on a public address without TLS or tokens all the same.
        limits: What the gateway takes upon itself.
    """

    host: str = HOST
    port: int = 8001
    health_host: str = HOST
    health_port: int = 0
    workers: int = 1
    tls_cert: Path | None = None
    tls_key: Path | None = None
    client_ca: Path | None = None
    token_file: Path | None = None
    spool: Path | None = None
    watch: Path | None = None
    release_key: Path | None = None
    tensorrt: bool = False
    insecure: bool = False
    limits: Limits = field(default_factory=Limits)

    def with_health(self, address: str | None) -> EdgeOptions:
        """Return a copy whose health door is at HOST:PORT, or on loopback beside the gRPC port.

        Raises:
            EdgeAddressError: The address is not HOST:PORT.
        """
        if address is None:
            return replace(self, health_host=HOST, health_port=self.port + 1 if 0 < self.port < 65535 else 0)
        host, _, port = check_address(address).rpartition(":")
        return replace(self, health_host=host.strip("[]"), health_port=int(port))

    def check(self) -> None:
        """Refuse what would be a mistake.

        Raises:
            EdgeConfigError: A public address without TLS and tokens, half of a TLS pair, no folder to watch.
            SignatureError: The release key is none.
            MissingExtraError: There is one, and nothing is installed to verify signatures with.
        """
        if (self.tls_cert is None) != (self.tls_key is None):
            raise EdgeConfigError("TLS needs a certificate and its key", "Give --tls-cert and --tls-key")
        if self.client_ca is not None and self.tls_cert is None:
            raise EdgeConfigError("A client CA needs TLS", "Give --tls-cert and --tls-key too")
        known = self.token_file is not None or self.client_ca is not None
        if self.watch is not None and not self.watch.is_dir():
            raise EdgeConfigError(f"{self.watch} is no folder", "Make it, or name another with --watch")
        if self.release_key is not None:
            self._check_release_key(self.release_key)
        if not (is_loopback(self.host) or self.insecure or (self.tls_cert is not None and known)):
            raise EdgeConfigError(
                f"{self.host} can be reached from outside, so it needs TLS, and tokens or a client CA",
                "Give --tls-cert, --tls-key and --token-file, or say --insecure",
            )

    def _check_release_key(self, release_key: Path) -> None:
        if self.watch is None:
            raise EdgeConfigError("A release key needs a folder of releases", "Give --watch too")
        need_extra("edge", "cryptography")
        from mvstylizer.signature import read_public_key

        read_public_key(release_key)


class Edge:
    """One edge; an async context manager that is left in order: gateway first, then Triton.

    Args:
        bundle: What to serve.
        options: How it faces its clients.

    Attributes:
        metrics: Its own numbers.
        releases: Changes the version that is served.
    """

    def __init__(self, bundle: Path, options: EdgeOptions) -> None:
        options.check()
        bundle = bundle.resolve()  # a link like `current` may soon name another release
        self.metrics = Metrics()
        self._options = options
        tensorrt = TensorRt() if options.tensorrt else None
        self._server = TritonServer(bundle, workers=options.workers, metrics=True, tensorrt=tensorrt)
        tokens = Tokens(options.token_file) if options.token_file else None
        self._spool = Spool(options.spool) if options.spool else None
        self._gateway = Gateway(
            options.limits, self.metrics, tokens, self._spool, lambda: self._supervisor.look()
        )
        self._supervisor = Supervisor(self._server, self._gateway, self.metrics, options.workers)
        self.releases = Releases(self._server, self._gateway, self._supervisor, self.metrics)
        self._health = HealthServer(self._facts, self._metrics_text)
        self._draining = False
        self._port = self._health_port = 0
        served = load_bundle(bundle)
        self._gateway.bundles = {served.version: served}
        self._gateway.version = served.version
        self._gateway.is_ready = self._is_ready

    @property
    def address(self) -> str:
        """``HOST:PORT`` of the gateway; where it listens on all addresses, the one on this machine."""
        return _address(self._options.host, self._port)

    @property
    def health_address(self) -> str:
        """``HOST:PORT`` of the health door."""
        return _address(self._options.health_host, self._health_port)

    async def start(self) -> None:
        """Start Triton, then open the doors.

        Raises:
            ServerStartError: Triton does not start, or a port is taken.
            BundleError: A file of the bundle is missing or changed.
            EdgeConfigError: A TLS file cannot be read or is none.
        """
        options = self._options
        credentials = _credentials(options)
        self._health_port = await self._health.listen(options.health_host, options.health_port)
        self._port = await self._gateway.listen(options.host, options.port, credentials)
        await self._supervisor.start()

    async def run(self) -> None:
        """Serve until cancelled.

        Raises:
            ServerDiedError: Triton cannot be kept alive.
            BundleError: It must be restarted, and its bundle is gone.
        """
        tasks = [asyncio.ensure_future(self._supervisor.run())]
        if self._spool is not None:
            tasks.append(asyncio.ensure_future(_age(self._spool)))
        if self._options.watch is not None:
            watched = WatchedFolder(self._options.watch, self._options.release_key)
            tasks.append(asyncio.ensure_future(self.releases.follow(watched)))
        try:
            await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)

    async def stop(self, grace_s: float) -> None:
        """Say not ready, take no new requests, answer those inside, then stop Triton.

        Args:
            grace_s: How long the requests inside may take, in seconds.
        """
        self._draining = True
        await self._gateway.close(grace_s)
        await self._supervisor.stop()
        await self._health.close()

    def _is_ready(self) -> bool:
        return not self._draining and self._supervisor.is_ready()

    def _facts(self) -> tuple[bool, dict[str, Any]]:
        ready = self._is_ready()
        status = "draining" if self._draining else "serving" if ready else "not ready"
        return ready, {
            "status": status,
            "version": self._gateway.version,
            "resident": sorted(self._gateway.bundles),
            "last_success_age_s": round(self._supervisor.age_s, 1),
        }

    async def _metrics_text(self) -> str:
        return self.metrics.text() + await asyncio.to_thread(_triton_metrics, self._server.metrics_address)


async def _age(spool: Spool) -> None:
    """Let nothing stay for longer than it may, even when nobody comes."""
    while True:
        await asyncio.to_thread(spool.shrink)
        await asyncio.sleep(_AGE_S)


def _triton_metrics(address: str) -> str:
    """Return Triton's own numbers; nothing while it is away."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(f"http://{address}/metrics", timeout=_SCRAPE_S) as reply:
            text: str = reply.read().decode()
    except OSError:
        return ""
    return text


def is_loopback(host: str) -> bool:
    """Tell whether an address or name can be reached from this machine only."""
    with contextlib.suppress(ValueError):
        return ipaddress.ip_address(host).is_loopback
    return host == "localhost"


def _address(host: str, port: int) -> str:
    reachable = {"0.0.0.0": HOST, "::": "::1"}.get(host, host)
    return f"[{reachable}]:{port}" if ":" in reachable else f"{reachable}:{port}"


def _credentials(options: EdgeOptions) -> Any:
    if options.tls_cert is None or options.tls_key is None:
        return None
    pair = (_pem(options.tls_key), _pem(options.tls_cert))
    client_ca = None if options.client_ca is None else _pem(options.client_ca)
    return grpc.ssl_server_credentials([pair], client_ca, require_client_auth=client_ca is not None)


def _pem(path: Path) -> bytes:
    try:
        data = path.read_bytes()
    except OSError as err:
        raise EdgeConfigError(f"{path}: {err.strerror}", "Name a readable PEM file") from err
    if b"-----BEGIN " not in data:
        raise EdgeConfigError(f"{path} is no PEM file", "Convert it with openssl")
    return data
