"""A federation as a user starts it: Flower's processes on loopback, TLS, registered edges."""

from __future__ import annotations

import json
import re
import shutil
import socket
import subprocess
import sys
import time
import tomllib
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import skimage.data

from device_runtime.stylizers.onnx_stylizer import OnnxStylizer
from edge_triton.client.client import EdgeClient
from fl.average import distance
from fl.edge_metrics import VERSION, read_gauge
from fl.flower.certificates import make_node_keys
from fl.flower.cloud import CONNECTION, CloudFolder
from fl.flower.edge import EdgeFolder
from fl.flower.processes import program
from fl.flower.run_config import RunConfig
from fl.flower.submit import write_app
from fl.journal import Row, read_journal
from fl.parameters import Parameters, map_parameters
from mvstylizer.bundle import default_bundle, load_bundle
from mvstylizer.release import load_release
from mvstylizer.stylizer import Stylizer
from tests.checkpoints import shipped_checkpoint
from tests.fl.conftest import fill

ROOT = Path(__file__).parents[2]
HOST = "127.0.0.2"  # the edges' address of the cloud; the SuperLink is on 127.0.0.1
PHOTOS = ("coffee", "rocket", "chelsea")
TINY = ("--steps", "1", "--crop", "32", "--holdout-size", "64", "--learning-rate", "5e-5")
# Of the bundled model: its release is exported by exchanging weights, which is much faster than tracing.
START = shipped_checkpoint("mvstylizer")


class Federation:
    """A cloud and its edges as command-line processes that end with the test.

    Args:
        folder: Parent of all their folders.
    """

    def __init__(self, folder: Path) -> None:
        self.folder, self.cloud = folder, folder / "cloud"
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self.submissions: set[str] = set()
        with socket.socket() as free:
            free.bind((HOST, 0))
            self.port = str(free.getsockname()[1])

    def start(self, name: str, *arguments: str, group: tuple[str, ...] = ("federate",)) -> None:
        with self.log(name).open("wb") as log:
            self.processes[name] = subprocess.Popen(
                [sys.executable, "-m", "mvstylizer_cli", *group, *arguments],
                cwd=ROOT,
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
            )

    def start_cloud(self) -> None:
        self.start("cloud", "cloud", "--folder", str(self.cloud), "--host", HOST, "--port", self.port)

    def wait_for_cloud(self) -> None:
        self.wait(lambda: "Cloud on" in self.said("cloud"))
        for host, port in ((HOST, int(self.port)), ("127.0.0.1", self.superlink)):
            socket.create_connection((host, port), 10).close()  # both answer from now on

    @property
    def superlink(self) -> int:
        """Port of the SuperLink on loopback."""
        config = tomllib.loads((self.cloud / "flower" / "config.toml").read_text())
        return int(config["superlink"][CONNECTION]["address"].rpartition(":")[2])

    def start_gateway(self, name: str) -> None:
        """Serve an edge's releases."""
        releases = self.folder / name / "releases"
        releases.mkdir(parents=True)
        self.start(f"{name}.serve", "serve", "--port", "0", "--watch", str(releases), group=())

    def wait_for_gateway(self, name: str) -> tuple[str, str]:
        """Return the address of a gateway and the URL of its metrics."""
        self.wait(lambda: "Serving on" in self.said(f"{name}.serve"))
        found = re.search(r"Serving on (\S+), health on (\S+)", self.said(f"{name}.serve"))
        assert found
        return found[1], f"http://{found[2]}/metrics"

    def prepare_edge(self, name: str, photos: tuple[str, ...]) -> Path:
        edge = self.folder / name
        fill(edge / "spool" / "frames", photos)
        fill(edge / "spool" / "styles", ("astronaut",))
        shutil.copytree(self.cloud / "join", edge / "join")
        return edge

    def start_edge(self, name: str, *, metrics: str = "") -> None:
        edge = self.folder / name
        cloud = ("--cloud", f"{HOST}:{self.port}", "--metrics", metrics)
        self.start(name, "edge", "--folder", str(edge), "--name", name, "--nice", "0", *cloud)

    def admit(self, name: str) -> None:
        key = self.folder / name / f"{name}.pub"
        self.wait(key.is_file)
        shutil.copy(key, self.cloud / "edges")
        self.wait(lambda: f"Edge {name} admitted" in self.said("cloud"))

    def federate(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        argv = [sys.executable, "-m", "mvstylizer_cli", "federate", *arguments]
        return subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, timeout=1200)

    def start_submission(self, name: str, *arguments: str) -> None:
        self.submissions.add(name)
        self.start(name, "submit", "--folder", str(self.cloud), *TINY, *arguments)

    def journal(self, *events: str) -> list[Row]:
        path = self.cloud / "federation" / "journal.jsonl"
        rows = read_journal(path) if path.is_file() else []
        return [row for row in rows if row["event"] in events]

    def models(self, *rounds: int) -> list[Parameters]:
        return [
            map_parameters(self.cloud / "federation" / f"{number:05d}" / "model.safetensors")[0]
            for number in rounds
        ]

    def log(self, name: str) -> Path:
        return self.folder / f"{name}.log"

    def said(self, name: str) -> str:
        return self.log(name).read_text()

    def kill(self, name: str) -> None:
        """Kill a program and its descendants, as a power failure would."""
        program = self.processes.pop(name)
        family = psutil.Process(program.pid).children(recursive=True)
        program.kill()
        for process in family:
            with suppress(psutil.NoSuchProcess):  # it ended with its parent
                process.kill()
        program.wait(60)

    def wait(self, condition: Callable[[], bool]) -> None:
        end = time.monotonic() + 900
        while not condition():
            self.check_submissions()
            assert time.monotonic() < end, {name: self.said(name) for name in self.processes}
            time.sleep(0.2)

    def check_submissions(self) -> None:
        """Fail at once, with what Flower logged, if a submission has ended with an error."""
        for name in self.submissions & self.processes.keys():
            if self.processes[name].poll():
                pytest.fail(f"{self.said(name)}\n{(self.cloud / 'flower' / 'run.log').read_text()}")

    def server_apps(self) -> list[int]:
        """Return the process ids of the cloud's ServerApps."""
        found = []
        for process in psutil.process_iter():
            with suppress(psutil.Error):
                is_ours = process.environ().get("MVSTYLIZER_CLOUD") == str(self.cloud.resolve())
                if is_ours and any("flwr-serverapp" in word for word in process.cmdline()):
                    found.append(process.pid)
        return found

    def stop(self) -> None:
        for process in reversed(self.processes.values()):
            process.terminate()
        for process in self.processes.values():
            process.wait(120)


def prepared(folder: Path) -> Federation:
    made = Federation(folder)
    fill(made.cloud / "holdout" / "contents", ("chelsea",))
    fill(made.cloud / "holdout" / "styles", ("coffee",))
    return made


@dataclass(frozen=True)
class History:
    """A federation after its round, and what happened on the way.

    Attributes:
        federation: The running federation.
        edges: Folders of the admitted edges.
        metrics: URL of the metrics of edge a's gateway.
        first: Output of the submission that was interrupted.
        cloud: Output of the cloud that was killed.
        attacks: Output of the commands with which a stranger attacked the cloud during the round.
        result: JSON of the submission that finished.
        before: A phone's picture before the round.
        after: The same request on the same connection after the round.
    """

    federation: Federation
    edges: dict[str, Path]
    metrics: str
    first: str
    cloud: str
    attacks: dict[str, str]
    result: dict[str, Any]
    before: np.ndarray
    after: np.ndarray


@pytest.fixture(scope="module")
def history(tmp_path_factory: pytest.TempPathFactory) -> Iterator[History]:
    """A round with two edges; the cloud is killed during the round and started again.

    Edge a is admitted before its first start, edge b after it.
    """
    federation = prepared(tmp_path_factory.mktemp("federation"))
    try:
        federation.start_cloud()
        federation.start_gateway("a")
        federation.wait_for_cloud()
        a, b, _ = (
            federation.prepare_edge(name, photos)
            for name, photos in (("a", PHOTOS[:2]), ("b", PHOTOS), ("stranger", PHOTOS[:2]))
        )
        EdgeFolder(a).prepare("a")
        federation.admit("a")
        address, metrics = federation.wait_for_gateway("a")
        federation.start_edge("a", metrics=metrics)
        with EdgeClient(address) as phone:
            before = stylized(phone)
            interrupt_round(federation)
            first, cloud = federation.said("first"), federation.said("cloud")
            federation.start_cloud()
            federation.wait_for_cloud()
            federation.start_edge("b")
            federation.admit("b")
            federation.start_edge("stranger")
            federation.start_submission("second", "--json")
            attacks = attack(federation)
            federation.wait(lambda: "Not connected" in federation.said("stranger"))
            federation.processes["stranger"].terminate()  # each attempt to connect takes seconds of CPU time
            federation.wait(lambda: federation.processes["second"].poll() == 0)
            after = stylized(phone)
        edges = {"a": a, "b": b}
        result = json.loads(federation.said("second").splitlines()[-1])
        yield History(federation, edges, metrics, first, cloud, attacks, result, before, after)
    finally:
        federation.stop()


def attack(federation: Federation) -> dict[str, str]:
    """Submit a run and register a node as a stranger who can reach the port and has ca.pem."""
    stranger = CloudFolder(federation.folder / "stranger.cloud")
    stranger.prepare((), int(federation.port))
    config = stranger.flower / "config.toml"
    ca = federation.cloud / "join" / "ca.pem"
    shutil.copy(ca, stranger.tls / "ca.pem")
    config.write_text(config.read_text().replace("127.0.0.1", HOST))
    write_app(stranger.root / "app", RunConfig())
    make_node_keys(stranger.root / "node.key", stranger.root / "node.pub")
    commands = {
        "run": ("run", str(stranger.root / "app"), CONNECTION),
        "register": ("supernode", "register", str(stranger.root / "node.pub"), CONNECTION),
    }
    replies = {}
    for name, command in commands.items():
        argv = [program("flwr"), *command]
        done = subprocess.run(argv, env=stranger.environment(), capture_output=True, text=True, timeout=300)
        assert done.returncode != 0
        replies[name] = done.stdout + done.stderr
    return replies


def interrupt_round(federation: Federation) -> None:
    """Submit a round, and kill the SuperLink when edge a has sent its update and the quorum waits for b."""
    federation.start_submission("first", "--start", str(START))
    federation.wait(lambda: federation.journal("update") != [])
    kill_superlink(federation)


def kill_superlink(federation: Federation) -> None:
    (superlink,) = psutil.Process(federation.processes["cloud"].pid).children()
    superlink.kill()
    assert federation.processes.pop("first").wait(300) == 1
    assert federation.processes.pop("cloud").wait(300) == 1


@pytest.mark.slow
def test_a_killed_cloud_resumes_its_round(history: History) -> None:
    assert "Submit again" in history.first
    assert "The SuperLink exited" in history.cloud
    updates = [(row["round"], row["edge"]) for row in history.federation.journal("update")]
    assert updates == [(1, "a"), (1, "b")]  # a did not train again


@pytest.mark.slow
def test_two_edges_train_one_model(history: History) -> None:
    assert history.result["rows"][-1]["event"] == "finished"
    (accepted,) = history.federation.journal("accepted")
    assert (accepted["round"], accepted["edges"], accepted["frames"]) == (1, ["a", "b"], 5)
    before, after = history.federation.models(0, 1)
    assert distance(after, before) > 0


@pytest.mark.slow
def test_a_release_reaches_the_edges_and_their_phones(history: History) -> None:
    shipped = load_bundle(default_bundle())
    for edge in history.edges.values():
        release, bundle = load_release(
            edge / "releases" / f"{shipped.version + 1:05d}", edge / "join" / "release.pub"
        )
        assert (release.turn, release.parents) == (1, (shipped.version,))
    with OnnxStylizer(shipped) as old, OnnxStylizer(bundle) as merged:
        assert levels_apart(history.before, stylized(old)) <= 1
        assert levels_apart(history.after, stylized(merged)) <= 1
        assert levels_apart(history.before, history.after) > 1
    assert read_gauge(history.metrics, VERSION) == release.version
    done = history.federation.federate("status", "--folder", str(history.federation.cloud), "--json")
    edges = json.loads(done.stdout)["edges"]
    assert {name: edge["version"] for name, edge in edges.items()} == {
        "a": release.version,
        "b": release.version,
    }


@pytest.mark.slow
def test_a_stranger_can_neither_run_code_nor_register(history: History) -> None:
    for command, reply in history.attacks.items():
        assert "403" in reply, (command, reply)
    assert "Refused 127.0.0.1: POST /v1/control/" in history.federation.said("cloud")
    with pytest.raises(ConnectionRefusedError):  # Flower itself is not on the edges' address
        socket.create_connection((HOST, history.federation.superlink), 10)


@pytest.mark.slow
def test_an_edge_that_is_not_admitted_cannot_connect(history: History) -> None:
    assert "Not connected" in history.federation.said("stranger")
    assert {row["edge"] for row in history.federation.journal("update")} == {"a", "b"}


@pytest.mark.slow
@pytest.mark.long
def test_two_rounds_after_the_cloud_and_an_edge_were_killed_in_the_first(tmp_path: Path) -> None:
    federation = prepared(tmp_path)
    try:
        federation.start_cloud()
        federation.wait_for_cloud()
        federation.prepare_edge("a", PHOTOS[:2])
        federation.start_edge("a")
        federation.admit("a")
        federation.start_submission("first", "--start", str(START))
        federation.wait(lambda: federation.journal("update") != [])  # from a; the quorum waits for b
        b = federation.prepare_edge("b", PHOTOS)
        federation.start_edge("b")
        federation.admit("b")
        log = b / "flower" / "supernode.log"
        federation.wait(lambda: log.is_file() and "Receiving: train" in log.read_text())
        assert federation.server_apps() != []
        federation.kill("b")
        kill_superlink(federation)
        end = time.monotonic() + 5  # Flower itself takes 10 s
        while federation.server_apps():
            assert time.monotonic() < end, "the ServerApp outlives its SuperLink"
            time.sleep(0.1)
        federation.start_cloud()
        federation.wait_for_cloud()
        federation.start_edge("b")
        federation.start_submission("second", "--rounds", "2")
        federation.wait(lambda: len(federation.journal("accepted")) == 2)
        accepted = federation.journal("accepted")
        assert [(row["round"], row["edges"], row["frames"]) for row in accepted] == [
            (1, ["a", "b"], 5),
            (2, ["a", "b"], 5),
        ]
        updates = [(row["round"], row["edge"]) for row in federation.journal("update")]
        assert updates[:2] == [(1, "a"), (1, "b")]  # a did not train again
        assert sorted(updates[2:]) == [(2, "a"), (2, "b")]
        start, first, second = federation.models(0, 1, 2)
        assert 0 < distance(first, start) < distance(second, start)
    finally:
        federation.stop()


def stylized(stylizer: Stylizer) -> np.ndarray:
    """Stylize a photo as a phone would."""
    code = stylizer.encode_style(skimage.data.coffee()[::4, ::4])
    image = stylizer.stylize(skimage.data.chelsea()[::2, ::2], code, reply="image").image
    assert image is not None
    return image


def levels_apart(one: np.ndarray, other: np.ndarray) -> int:
    return int(np.abs(one.astype(int) - other.astype(int)).max())
