"""`mvstylizer federate cloud`: run the SuperLink for one folder and admit edges.

    cloud/
        join/ca.pem, release.pub     what an edge needs to join; copy this folder to each edge
        edges/NAME.pub               public keys of the admitted edges; copied here by hand
        tls/, release.key, flower/   certificates, the key that signs releases, Flower's state
        holdout/contents, styles     photos for the gate
        start.safetensors            initial checkpoint of the federation
        federation/, registry/       rounds and releases

Flower 1.41 has no user accounts: any client that can reach the port can submit a run, which is code. The
default address is loopback; on any other address, isolate the port so that only the edges can reach it.
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

PORT = 9443  # Flower's default, 8000, is also Triton's
CONNECTION = "cloud"
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")

_POLL_S = 2.0
_READY_TIMEOUT_S = 120.0


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
        """Create missing keys, certificates and Flower's configuration."""
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

    def flwr(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run Flower's command line against this cloud's SuperLink; output is captured as text."""
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
    """Run the SuperLink until it exits or this process is interrupted; admit edges as their keys appear.

    Args:
        root: The cloud's folder.
        host: Address to listen on. Any client that can reach it can submit runs: only the edges should.
        port: Port to listen on.
        names: Further host names and addresses for the certificate; used when it is created.
        on_ready: Called with one line when the cloud is ready, and for each admitted edge.

    Raises:
        FederationError: The SuperLink exits, or a key's file name is not a valid edge name.
    """
    folder = CloudFolder(root)
    folder.prepare(names, port)
    log = folder.flower / "superlink.log"
    admitted: set[str] = set()
    with running(_superlink(folder, host, port), folder.environment(), log) as process:
        _wait_until_ready(folder, process, log)
        on_ready(f"Cloud on {host}:{port}; copy {folder.join} to each edge")
        while process.poll() is None:
            for key in sorted(folder.edges.glob("*.pub")):
                if key.stem not in admitted:
                    _admit(folder, key)
                    admitted.add(key.stem)
                    on_ready(f"Edge {key.stem} admitted")
            time.sleep(_POLL_S)
        raise FederationError(f"The SuperLink exited: {last_lines(log)}", f"Read {log}")


def _superlink(folder: CloudFolder, host: str, port: int) -> list[str]:
    return [
        program("flower-superlink"),
        f"--host={host}",
        f"--port={port}",
        f"--ssl-ca-certfile={folder.tls / 'ca.pem'}",
        f"--ssl-certfile={folder.tls / 'server.pem'}",
        f"--ssl-keyfile={folder.tls / 'server.key'}",
        "--enable-supernode-auth",
        f"--database={folder.flower / 'state.db'}",
        "--disable-runtime-dependency-installation",
    ]


def _wait_until_ready(folder: CloudFolder, process: subprocess.Popen[bytes], log: Path) -> None:
    end = time.monotonic() + _READY_TIMEOUT_S
    while process.poll() is None and time.monotonic() < end:
        if folder.flwr("supernode", "list", CONNECTION, "--format", "json").returncode == 0:
            return
        time.sleep(0.5)
    raise FederationError(
        f"The SuperLink does not respond: {last_lines(log)}",
        f"Check that the port is free, and read {log}",
    )


def _admit(folder: CloudFolder, key: Path) -> None:
    """Register an edge's key under its file name; a key that is already registered is left unchanged."""
    if not NAME.fullmatch(key.stem):
        raise FederationError(f"{key.stem} is not a valid edge name", "Use letters, digits, '.', '_' and '-'")
    done = folder.flwr("supernode", "register", str(key), CONNECTION, "--name", key.stem)
    output = f"{done.stdout} {done.stderr}"
    if done.returncode != 0 and "already in use" not in output:
        raise FederationError(f"Cannot admit edge {key.stem}: {output[-300:]}", f"Check {key}")
