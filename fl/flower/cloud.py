"""`mvstylizer federate cloud`: the SuperLink over one folder, and who may take part.

    cloud/
        join/ca.pem, release.pub     what an edge needs to join; copy the folder to it
        edges/NAME.pub               the keys of the edges that may; copied here by hand
        tls/, release.key, flower/   certificates, the key that signs releases, Flower's state
        holdout/contents, styles     photos for the gate
        start.safetensors            what the federation begins with
    federation/, registry/       rounds and releases

Flower 1.41 has no accounts of its own: whoever reaches the port may submit a run, which is code. It listens
on loopback unless told otherwise, and then belongs into a network that only the edges reach.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from fl.flower.certificates import LOOPBACK, make_certificates
from fl.flower.processes import (
    CLOUD_VARIABLE,
    FederationError,
    environment,
    last_lines,
    program,
    running,
)
from fl.release import REGISTRY
from fl.rounds import FEDERATION
from fl.signing import make_keys

PORT = 9443  # Flower's default, 8000, is Triton's
CONNECTION = "cloud"
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")

_POLL_S = 2.0
_READY_S = 120.0


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
        """Make keys, certificates and Flower's configuration where they are not there yet."""
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
        """Return the environment of Flower's programs over this folder."""
        return environment(self.flower, {CLOUD_VARIABLE: str(self.root)})

    def flwr(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run Flower's command line against this cloud's SuperLink."""
        return subprocess.run(
            [program("flwr"), *arguments], env=self.environment(), capture_output=True, text=True, check=False
        )


def run_cloud(
    root: Path,
    *,
    host: str = "127.0.0.1",
    port: int = PORT,
    names: Sequence[str] = (),
    on_ready: Callable[[str], None] = lambda line: None,
) -> None:
    """Run the SuperLink until it ends or this process is interrupted; admit edges as their keys appear.

    Args:
        root: The cloud's folder.
        host: Address to listen on. Whoever reaches it may submit runs: keep it to the edges' network.
        port: Its port.
        names: Further host names and addresses for the certificate, read when it is made.
        on_ready: Called with one line when it listens, and for each edge that is admitted.

    Raises:
        FederationError: The SuperLink ends, or an edge's file name is no name.
    """
    folder = CloudFolder(root)
    folder.prepare(names, port)
    log = folder.flower / "superlink.log"
    argv = [
        program("flower-superlink"), "--host", host, "--port", str(port),
        "--ssl-ca-certfile", str(folder.tls / "ca.pem"),
        "--ssl-certfile", str(folder.tls / "server.pem"), "--ssl-keyfile", str(folder.tls / "server.key"),
        "--enable-supernode-auth", "--database", str(folder.flower / "state.db"),
        "--disable-runtime-dependency-installation",
    ]  # fmt: skip
    admitted: set[str] = set()
    with running(argv, folder.environment(), log) as process:
        _wait_until_ready(folder, process, log)
        on_ready(f"Cloud on {host}:{port}; copy {folder.join} to each edge")
        while process.poll() is None:
            for key in sorted(folder.edges.glob("*.pub")):
                if key.stem not in admitted:
                    _admit(folder, key)
                    admitted.add(key.stem)
                    on_ready(f"Edge {key.stem} may take part")
            time.sleep(_POLL_S)
        raise FederationError(f"The SuperLink ended: {last_lines(log)}", f"Read {log}")


def _wait_until_ready(folder: CloudFolder, process: subprocess.Popen[bytes], log: Path) -> None:
    end = time.monotonic() + _READY_S
    while process.poll() is None and time.monotonic() < end:
        if folder.flwr("supernode", "list", CONNECTION, "--format", "json").returncode == 0:
            return
        time.sleep(0.5)
    raise FederationError(
        f"The SuperLink does not answer: {last_lines(log)}", f"Is the port free? Read {log}"
    )


def _admit(folder: CloudFolder, key: Path) -> None:
    """Register an edge's key under the file's name; one that Flower knows already is left as it is."""
    if not NAME.fullmatch(key.stem):
        raise FederationError(f"{key} does not name an edge", "Use letters, digits, '.', '_' and '-'")
    done = folder.flwr("supernode", "register", str(key), CONNECTION, "--name", key.stem)
    said = f"{done.stdout} {done.stderr}"
    if done.returncode != 0 and "already in use" not in said:
        raise FederationError(f"Edge {key.stem} was not admitted: {said[-300:]}", f"Check {key}")
