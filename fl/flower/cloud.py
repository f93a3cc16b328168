"""`mvstylizer federate cloud`: run the SuperLink for one folder and admit edges.

    cloud/
        join/ca.pem, release.pub     what an edge needs to join; copy this folder to each edge
        edges/NAME.pub               public keys of the admitted edges; copied here by hand
        tls/, release.key, flower/   certificates, the key that signs releases, Flower's state
        holdout/contents, styles     photos for the gate
        start.safetensors            initial checkpoint of the federation
        federation/, registry/       rounds and releases

Flower 1.41 has no user accounts: any client that can reach its SuperLink can submit a run, which is code. So
the SuperLink listens on loopback, for `federate submit`; edges reach it through `fl.flower.fleet_proxy`.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import socket
import ssl
import subprocess
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import httpx
from flwr.supercore.primitives.asymmetric import public_key_to_bytes

from fl.flower.admission import Admission
from fl.flower.certificates import LOOPBACK, make_certificates
from fl.flower.fleet_proxy import FleetProxy
from fl.flower.folder_lock import folder_lock
from fl.flower.node_auth import PublicKey
from fl.flower.processes import (
    CLOUD_VARIABLE,
    FederationError,
    environment,
    free_port,
    last_lines,
    program,
    running,
)
from fl.release import REGISTRY
from fl.rounds import FEDERATION
from fl.signing import make_keys

PORT = 9443  # Flower's default, 8000, is also Triton's
CONNECTION = "cloud"
ANY_ADDRESS = ("0.0.0.0", "::")

_POLL_S = 0.5
_READY_TIMEOUT_S, _CONNECT_TIMEOUT_S = 120.0, 5.0


class CloudFolder:
    """The paths of a cloud's folder.

    Args:
        root: The folder.
    """

    def __init__(self, root: Path) -> None:
        self.root = root.resolve()
        self.join, self.edges, self.tls = self.root / "join", self.root / "edges", self.root / "tls"
        self.flower, self.holdout = self.root / "flower", self.root / "holdout"
        self.federation, self.registry = self.root / FEDERATION, self.root / REGISTRY
        self.release_key = self.root / "release.key"
        self.start = self.root / "start.safetensors"
        self.release_pub = self.join / "release.pub"

    def prepare(self, hosts: Sequence[str], port: int) -> None:
        """Create missing keys, certificates and Flower's configuration.

        Args:
            hosts: Further names of the cloud for its certificate.
            port: Port of the SuperLink on loopback.
        """
        for folder in (self.join, self.edges, self.flower):
            folder.mkdir(parents=True, exist_ok=True)
        if not (self.tls / "ca.pem").is_file():
            shutil.rmtree(self.tls, ignore_errors=True)
            make_certificates(self.tls, list(dict.fromkeys((*LOOPBACK, *hosts))))
        shutil.copy(self.tls / "ca.pem", self.join / "ca.pem")
        if not self.release_key.is_file():
            make_keys(self.release_key, self.release_pub)
        (self.flower / "config.toml").write_text(
            f'[superlink]\ndefault = "{CONNECTION}"\n\n[superlink.{CONNECTION}]\n'
            f'address = "127.0.0.1:{port}"\nroot-certificates = {json.dumps(str(self.tls / "ca.pem"))}\n'
        )

    def environment(self) -> dict[str, str]:
        """Return the environment variables of Flower's programs for this folder."""
        return environment(self.flower, {CLOUD_VARIABLE: str(self.root)})


def run_cloud(
    root: Path,
    *,
    host: str = "127.0.0.1",
    port: int = PORT,
    names: Sequence[str] = (),
    on_ready: Callable[[str], None] = lambda line: None,
) -> None:
    """Run the SuperLink and its proxy until the SuperLink exits or this process is interrupted; admit edges.

    Args:
        root: The cloud's folder.
        host: Address for the edges to connect to. Only their Fleet calls are passed.
        port: Port to listen on.
        names: Further host names and addresses for the certificate; used when it is created.
        on_ready: Called with one line when the port answers, when an edge is admitted or shut out, when a
            file in ``edges/`` is set aside, and when a client is refused.

    Raises:
        FederationError: Another cloud uses the folder, the port cannot be used, or the SuperLink exits.
    """
    folder = CloudFolder(root)
    with folder_lock(folder.flower, "mvstylizer federate cloud"):
        superlink = free_port()
        folder.prepare([*names, *({host} - {*ANY_ADDRESS})], superlink)
        admission = Admission(folder.edges, partial(_register, folder, superlink), on_ready)
        log = folder.flower / "superlink.log"
        with (
            FleetProxy(host, port, superlink, folder.tls, admission.keys, on_ready) as proxy,
            running(_superlink(folder, superlink), folder.environment(), log) as process,
        ):
            _wait_until_ready(folder, superlink, process, log)
            admission.scan()  # an edge that is refused now would wait before it tries again
            proxy.open()
            on_ready(f"Cloud on {host}:{port}; copy {folder.join} to each edge")
            while process.poll() is None:
                admission.scan()
                time.sleep(_POLL_S)
            raise FederationError(f"The SuperLink exited: {last_lines(log)}", f"Read {log}")


def _superlink(folder: CloudFolder, port: int) -> list[str]:
    return [
        program("flower-superlink"),
        "--host=127.0.0.1",
        f"--port={port}",
        f"--ssl-ca-certfile={folder.tls / 'ca.pem'}",
        f"--ssl-certfile={folder.tls / 'server.pem'}",
        f"--ssl-keyfile={folder.tls / 'server.key'}",
        "--enable-supernode-auth",
        f"--database={folder.flower / 'state.db'}",
        "--disable-runtime-dependency-installation",
    ]


def _register(folder: CloudFolder, port: int, edge: str, key: PublicKey) -> str:
    """Register an edge's key with the SuperLink; see `fl.flower.admission.Register`."""
    from flwr.proto.control_pb2 import RegisterNodeRequest
    from flwr.supercore.control.control_http_client import ControlHttpClient

    ca = (folder.tls / "ca.pem").read_bytes()
    address = f"127.0.0.1:{port}"
    with ControlHttpClient.from_server_address(
        address, insecure=False, root_certificates=ca, interceptors=()
    ) as client:
        try:
            client.RegisterNode(RegisterNodeRequest(public_key=public_key_to_bytes(key), name=edge))
        except httpx.HTTPStatusError as err:
            is_known = err.response.status_code == httpx.codes.PRECONDITION_FAILED
            return "" if is_known and "already in use" in err.response.text else err.response.text or str(err)
        except httpx.HTTPError as err:
            return f"{type(err).__name__}: {err}"
    return ""


def _wait_until_ready(folder: CloudFolder, port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    """Wait until the SuperLink answers on its port.

    Flower's command line is of no use here: `flwr supernode list --format json` exits with 0 in any case.
    """
    context = ssl.create_default_context(cafile=str(folder.tls / "ca.pem"))
    end = time.monotonic() + _READY_TIMEOUT_S
    while process.poll() is None and time.monotonic() < end:
        with (
            contextlib.suppress(OSError),
            socket.create_connection(("127.0.0.1", port), _CONNECT_TIMEOUT_S) as plain,
            context.wrap_socket(plain, server_hostname="127.0.0.1"),
        ):
            return
        time.sleep(0.1)
    raise FederationError(
        f"The SuperLink does not respond: {last_lines(log)}", f"Read {log}, then start the cloud again"
    )
