"""How an edge faces its clients: addresses, TLS, tokens, releases, limits."""

from __future__ import annotations

import contextlib
import ipaddress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import grpc

from edge_triton.client.client import check_address
from edge_triton.gateway.guard import Limits
from edge_triton.tls_files import check_tls_files
from mvstylizer.errors import MVStylizerError, need_extra

LOOPBACK = "127.0.0.1"


class EdgeConfigError(MVStylizerError):
    """The options of an edge are inconsistent, unsafe, or name a file that cannot be used."""


@dataclass(frozen=True)
class EdgeOptions:
    """Options of an edge.

    Attributes:
        host: Address that the gateway listens on.
        port: Its gRPC port; 0 = a free one.
        health_host: Address of the health server.
        health_port: Its port; 0 = a free one.
        workers: Stylizer instances.
        threads: Threads of each; None = the cores divided by the workers.
        tls_cert: Certificate chain (PEM).
        tls_key: Private key of the certificate (PEM).
        client_ca: Authority that signs client certificates (PEM); if set, clients must present one.
        token_file: Bearer tokens, see `Tokens`.
        spool: Folder for images that clients allow to be stored, see `Spool`; None = nothing is stored.
        watch: Folder whose bundles are releases, see `Releases.follow`.
        release_key: Public key (PEM) whose signature a watched bundle needs; None = no signature needed.
        tensorrt: Use TensorRT (in the official container); building its engines takes minutes at each start.
        insecure: Allow a public address without TLS or tokens.
        limits: Resource limits.
    """

    host: str = LOOPBACK
    port: int = 8001
    health_host: str = LOOPBACK
    health_port: int = 0
    workers: int = 1
    threads: int | None = None
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
        """Return a copy whose health server listens on an address.

        Args:
            address: ``HOST:PORT``; None = loopback and the gRPC port + 1.

        Raises:
            EdgeAddressError: The address is not HOST:PORT.
        """
        if address is None:
            port = self.port + 1 if 0 < self.port < 65535 else 0
            return replace(self, health_host=LOOPBACK, health_port=port)
        host, _, text = check_address(address).rpartition(":")
        return replace(self, health_host=host.strip("[]"), health_port=int(text))

    def check(self) -> None:
        """Reject options that are inconsistent or unsafe.

        Raises:
            EdgeConfigError: A public address lacks TLS or client authentication, half of a TLS pair is
                missing, or the watched folder does not exist.
            SignatureError: The release key is not a public key.
            MissingExtraError: A release key is set, and the package that verifies signatures is not
                installed.
        """
        if (self.tls_cert is None) != (self.tls_key is None):
            raise EdgeConfigError("TLS needs a certificate and its key", "Pass --tls-cert and --tls-key")
        if self.client_ca is not None and self.tls_cert is None:
            raise EdgeConfigError("A client CA needs TLS", "Pass --tls-cert and --tls-key too")
        if self.watch is not None and not self.watch.is_dir():
            raise EdgeConfigError(f"{self.watch} is not a folder", "Create it, or pass another to --watch")
        if self.release_key is not None:
            self._check_release_key(self.release_key)
        authenticates = self.token_file is not None or self.client_ca is not None
        if not (is_loopback(self.host) or self.insecure or (self.tls_cert is not None and authenticates)):
            raise EdgeConfigError(
                f"{self.host} can be reached from outside, so it needs TLS, and tokens or a client CA",
                "Pass --tls-cert, --tls-key and --token-file, or --insecure",
            )

    def credentials(self) -> Any:
        """Return the gRPC server credentials, or None without TLS.

        Raises:
            TlsFileError: A TLS file cannot be used.
        """
        if self.tls_cert is None or self.tls_key is None:
            return None
        check_tls_files(self.tls_cert, self.tls_key, self.client_ca)
        pair = (self.tls_key.read_bytes(), self.tls_cert.read_bytes())
        client_ca = None if self.client_ca is None else self.client_ca.read_bytes()
        return grpc.ssl_server_credentials([pair], client_ca, require_client_auth=client_ca is not None)

    def _check_release_key(self, release_key: Path) -> None:
        if self.watch is None:
            raise EdgeConfigError("A release key needs a folder of releases", "Pass --watch too")
        need_extra("edge", "cryptography")
        from mvstylizer.signature import read_public_key

        read_public_key(release_key)


def is_loopback(host: str) -> bool:
    """Return whether an address or name is reachable from this machine only."""
    with contextlib.suppress(ValueError):
        return ipaddress.ip_address(host).is_loopback
    return host == "localhost"
