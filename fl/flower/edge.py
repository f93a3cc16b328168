"""`mvstylizer federate edge`: a SuperNode over one folder.

    edge/
        join/ca.pem, release.pub    copied from the cloud's folder
        NAME.pub                    copy it to the cloud's folder ``edges/``
        node.key, tls/, flower/     its identity and Flower's state
        spool/frames, styles        what it retrains on
    releases/                   bundles, for `mvstylizer serve --watch`

Nothing of the spool leaves the edge; what does are parameters, a count of frames and losses.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from pathlib import Path

from fl.flower.certificates import make_certificates, make_node_keys
from fl.flower.processes import (
    EDGE_VARIABLE,
    METRICS_VARIABLE,
    NICE_VARIABLE,
    FederationError,
    environment,
    first_error,
    program,
    running,
)
from fl.release import RELEASES

NICE = 10  # phones are protected by the pauses; an even lower priority would starve on a busy machine
FIRST_PAUSE_S, MAX_PAUSE_S = 5.0, 60.0
STEADY_S = 60.0  # a SuperNode that ran so long was connected: the pauses begin anew


class EdgeFolder:
    """The paths of an edge's folder.

    Args:
        root: The folder.
    """

    def __init__(self, root: Path) -> None:
        self.root = root.resolve()
        self.ca, self.release_pub = self.root / "join" / "ca.pem", self.root / "join" / "release.pub"
        self.key, self.tls = self.root / "node.key", self.root / "tls"
        self.flower, self.spool = self.root / "flower", self.root / "spool"
        self.releases = self.root / RELEASES

    def prepare(self, name: str) -> Path:
        """Make the edge's keys where they are not there yet and return its public key.

        Raises:
            FederationError: What the cloud gives to join is missing.
        """
        for path in (self.ca, self.release_pub):
            if not path.is_file():
                raise FederationError(f"{path} is missing", "Copy the folder `join` from the cloud's folder")
        self.flower.mkdir(parents=True, exist_ok=True)
        public = self.root / f"{name}.pub"
        if not self.key.is_file():
            make_node_keys(self.key, public)
        if not (self.tls / "ca.pem").is_file():
            make_certificates(self.tls)
        return public


def run_edge(
    root: Path,
    cloud: str,
    name: str,
    *,
    metrics: str = "",
    nice: int = NICE,
    on_state: Callable[[str], None] = lambda line: None,
) -> None:
    """Run the SuperNode until this process is interrupted, again with growing pauses whenever it ends.

    Args:
        root: The edge's folder.
        cloud: HOST:PORT of the cloud.
        name: The edge's name; its public key is ``NAME.pub``.
        metrics: URL of the gateway's metrics: it retrains only while no request is inside.
        nice: By how much retraining gives way to other programs, 0 to 19.
        on_state: Called with one line when it starts, and when it was turned away.

    Raises:
        FederationError: What the cloud gives to join is missing.
    """
    folder = EdgeFolder(root)
    public = folder.prepare(name)
    log = folder.flower / "supernode.log"
    variables = {EDGE_VARIABLE: str(folder.root), METRICS_VARIABLE: metrics, NICE_VARIABLE: str(nice)}
    env = environment(folder.flower, variables)
    said, pause_s = "", FIRST_PAUSE_S
    on_state(f"Edge {name} takes part when {public} lies in the cloud's folder `edges`")
    while True:
        argv = [
            program("flower-supernode"), "--superlink", cloud, "--root-certificates", str(folder.ca),
            "--auth-supernode-private-key", str(folder.key), "--host", "127.0.0.1",
            "--port", str(_free_port()), "--ssl-ca-certfile", str(folder.tls / "ca.pem"),
            "--ssl-certfile", str(folder.tls / "server.pem"),
            "--ssl-keyfile", str(folder.tls / "server.key"),
        ]  # fmt: skip
        began = log.stat().st_size if log.is_file() else 0
        since = time.monotonic()
        with running(argv, env, log) as process:
            process.wait()
        if time.monotonic() - since > STEADY_S:
            pause_s = FIRST_PAUSE_S
        reason = first_error(log, began).rstrip(".")
        if reason != said:
            on_state(
                f"Not connected to {cloud}: {reason.rstrip('.')}. Is {public} in the cloud's folder `edges`?"
            )
            said = reason
        time.sleep(pause_s)
        pause_s = min(2 * pause_s, MAX_PAUSE_S)


def _free_port() -> int:
    """Return a port for the SuperNode's own programs; the kernel's range is far from Triton's 8000-8002."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port
