"""`mvstylizer federate edge`: run a SuperNode for one folder.

    edge/
        join/ca.pem, release.pub    copied from the cloud's folder
        NAME.pub                    copy it to the cloud's folder ``edges/``
        node.key, tls/, flower/     the edge's identity and Flower's state
        spool/frames, styles        training photos
        releases/                   bundles, for `mvstylizer serve --watch`
        privacy.jsonl               what `--dp-noise` has spent, see `fl.edge_privacy`

Photos never leave the edge; only parameters, the frame count and losses do, with `fl.edge_privacy` even those
with noise, and no losses.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from fl.edge_privacy import EdgePrivacy
from fl.flower.certificates import make_certificates, make_node_keys, write_public_key
from fl.flower.folder_lock import folder_lock
from fl.flower.processes import (
    CLIP_VARIABLE,
    EDGE_VARIABLE,
    METRICS_VARIABLE,
    NICE_VARIABLE,
    NOISE_VARIABLE,
    FederationError,
    environment,
    first_error,
    free_port,
    program,
    running,
)
from fl.limits import is_edge_name
from fl.release import RELEASES

NICE = 10  # pauses protect requests; a lower priority would starve training on a busy machine
MIN_BACKOFF_S, MAX_BACKOFF_S = 2.0, 60.0
STABLE_S = 60.0  # a SuperNode that ran this long was connected: the backoff is reset


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
        """Create missing keys and return the path of the edge's public key.

        Raises:
            FederationError: A file of the cloud's `join` folder is missing, the name is not valid, or the key
                is damaged.
        """
        if not is_edge_name(name):
            raise FederationError(
                f"{name!r} is not a valid edge name",
                "Use at most 63 letters, digits, '.', '_' and '-', and begin with a letter or digit",
            )
        for path in (self.ca, self.release_pub):
            if not path.is_file():
                raise FederationError(f"{path} is missing", "Copy the folder `join` from the cloud folder")
        self.flower.mkdir(parents=True, exist_ok=True)
        public = self.root / f"{name}.pub"
        if not self.key.is_file():
            make_node_keys(self.key, public)
        try:
            write_public_key(self.key, public)
        except ValueError as err:
            raise FederationError(
                f"{self.key} is damaged", "Delete it, start the edge again, and copy the new public key"
            ) from err
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
    privacy: EdgePrivacy | None = None,
    on_state: Callable[[str], None] = lambda line: None,
) -> None:
    """Run the SuperNode until this process is interrupted; restart it with exponential backoff.

    Args:
        root: The edge's folder.
        cloud: HOST:PORT of the cloud.
        name: Name of the edge; its public key is ``NAME.pub``.
        metrics: URL of the gateway's metrics; training pauses while a request is in progress.
        nice: Niceness of training, 0 to 19.
        privacy: If given, updates leave with noise, whatever the cloud asks for.
        on_state: Called with one line at start, and when the connection is refused.

    Raises:
        FederationError: See `EdgeFolder.prepare`; or another edge uses the folder.
    """
    folder = EdgeFolder(root)
    with folder_lock(folder.flower, "mvstylizer federate edge"):
        variables = {EDGE_VARIABLE: str(folder.root), METRICS_VARIABLE: metrics, NICE_VARIABLE: str(nice)}
        if privacy is not None:
            variables |= {NOISE_VARIABLE: repr(privacy.noise), CLIP_VARIABLE: repr(privacy.clip)}
        else:
            variables |= {NOISE_VARIABLE: "0"}
        _run(folder, cloud, name, environment(folder.flower, variables), on_state)


def _run(
    folder: EdgeFolder, cloud: str, name: str, env: dict[str, str], on_state: Callable[[str], None]
) -> None:
    public = folder.prepare(name)
    log = folder.flower / "supernode.log"
    last_reason, backoff_s = "", MIN_BACKOFF_S
    on_state(f"Copy {public} to the folder `edges` of the cloud folder to admit edge {name}")
    while True:
        offset = log.stat().st_size if log.is_file() else 0
        since = time.monotonic()
        with running(_supernode(folder, cloud), env, log) as process:
            process.wait()
        if time.monotonic() - since > STABLE_S:
            backoff_s = MIN_BACKOFF_S
        reason = first_error(log, offset).rstrip(".")
        if reason != last_reason:
            on_state(
                f"Not connected to {cloud}: {reason}. Check that {public} is in the cloud's folder `edges`"
            )
            last_reason = reason
        time.sleep(backoff_s)
        backoff_s = min(2 * backoff_s, MAX_BACKOFF_S)


def _supernode(folder: EdgeFolder, cloud: str) -> list[str]:
    return [
        program("flower-supernode"),
        f"--superlink={cloud}",
        f"--root-certificates={folder.ca}",
        f"--auth-supernode-private-key={folder.key}",
        "--host=127.0.0.1",
        f"--port={free_port()}",
        f"--ssl-ca-certfile={folder.tls / 'ca.pem'}",
        f"--ssl-certfile={folder.tls / 'server.pem'}",
        f"--ssl-keyfile={folder.tls / 'server.key'}",
    ]
