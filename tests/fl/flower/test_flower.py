"""Our two Flower apps connected by a grid in this process, without SuperLink and SuperNodes."""

from __future__ import annotations

import json
import shutil
import ssl
import stat
import subprocess
import sys
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from pathlib import Path
from types import SimpleNamespace

import httpx
import numpy as np
import psutil
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_ssh_private_key, load_ssh_public_key
from flwr.app import Array, ArrayRecord, ConfigRecord, Context, Error, Message, MetricRecord, RecordDict
from flwr.common.constant import ErrorCode
from flwr.supercore.inflatable.inflatable_utils import ObjectPushError
from flwr.supercore.run import RunNotRunningException
from safetensors.numpy import load_file

from fl.average import Averaging
from fl.edge_privacy import LEDGER, epsilon, spent
from fl.flower import client_app, server_app
from fl.flower.certificates import make_certificates, make_node_keys
from fl.flower.cloud import CloudFolder
from fl.flower.edge import EdgeFolder
from fl.flower.fleet import LOSSES, MODEL, UPDATE, GridFleet
from fl.flower.processes import (
    CLIP_VARIABLE,
    CLOUD_VARIABLE,
    EDGE_VARIABLE,
    NOISE_VARIABLE,
    FederationError,
    exception_line,
)
from fl.flower.run_config import RunConfig
from fl.flower.submit import submit
from fl.gate import GateDecision
from fl.journal import read_journal
from fl.parameters import fingerprint, trained
from fl.release import newest, seal
from fl.round_config import RoundConfig
from fl.rounds import Rounds
from fl.signing import make_keys
from fl.status import read_status
from mvstylizer.bundle import Bundle, file_spec, load_bundle, sha256_of, write_manifest
from mvstylizer.release import Release
from tests.fl.conftest import fill

CONFIG = RunConfig(rounds=1, quorum=2, deadline_s=60, steps=1, crop=32, learning_rate=1e-5)
NOTHING = Context(1, 1, {}, RecordDict(), {})


class Loopback:
    """A grid whose edges are folders; our app replies to each message immediately, unless scripted.

    Args:
        edges: Folders by name.
        scripted: By edge, a function that replies instead of our app.
    """

    def __init__(
        self, edges: dict[str, Path], scripted: dict[str, Callable[[Message], Message]] | None = None
    ) -> None:
        self.edges, self.scripted = edges, scripted or {}
        self.replies: dict[str, Message] = {}
        self.sent: list[str] = []

    def get_nodes(self) -> list[SimpleNamespace]:
        return [SimpleNamespace(name=name, node_id=number) for number, name in enumerate(self.edges, 7)]

    def push_messages(self, messages: Iterable[Message]) -> list[str]:
        numbers = []
        for message in messages:
            name = list(self.edges)[message.metadata.dst_node_id - 7]
            number = f"{len(self.sent)}"
            self.sent.append(name)
            message.metadata.__dict__["_message_id"] = number  # as Flower's own grid does
            with pytest.MonkeyPatch.context() as patch:
                patch.setenv(EDGE_VARIABLE, str(self.edges[name]))
                reply = self.scripted.get(name, lambda message: client_app.app(message, NOTHING))
                self.replies[number] = reply(message)
            numbers.append(number)
        return numbers

    def pull_messages(self, numbers: Iterable[str]) -> list[Message]:
        return [self.replies.pop(number) for number in list(numbers) if number in self.replies]


class Always:
    def evaluate(self, candidate: Path, live: Path) -> GateDecision:
        return GateDecision(True, (), {})


@pytest.fixture(autouse=True)
def _keep_priority(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_app, "lower_priority", lambda: None)  # a priority cannot be raised again
    for module in (client_app, server_app):
        monkeypatch.setattr(module, "end_with_parent", lambda: None)


pytestmark = pytest.mark.usefixtures("identity")


@pytest.fixture
def edges(spool: Path, tmp_path: Path) -> dict[str, Path]:
    folders = {name: tmp_path / name for name in "ab"}
    for folder in folders.values():
        shutil.copytree(spool, folder / "spool")
    return folders


@pytest.fixture
def rounds(checkpoint: Path, tmp_path: Path) -> Rounds:
    return Rounds(tmp_path / "federation", checkpoint)


def test_a_round_through_both_apps(rounds: Rounds, edges: dict[str, Path], checkpoint: Path) -> None:
    row = rounds.run(GridFleet(Loopback(edges), CONFIG), CONFIG.round_config, Always())
    assert (row["event"], row["edges"], row["frames"]) == ("accepted", ["a", "b"], 6)
    start, merged = load_file(checkpoint), load_file(rounds.model)
    assert max(np.abs(merged[name] - start[name]).max() for name in start) == pytest.approx(1e-5, rel=0.05)
    updates = rounds.journal.events("update")
    assert updates[0]["sha256"] == updates[1]["sha256"]  # the same photos and crops
    assert set(updates[0]["losses"]) == {
        "total",
        "content",
        "style",
        "structure",
        "look",
        "roughness",
        "range",
        "contrast",
        "tint",
    }


def test_an_edge_adds_its_own_noise_whatever_the_cloud_asks_for(
    rounds: Rounds, edges: dict[str, Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def private(message: Message) -> Message:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv(NOISE_VARIABLE, "2.0")
            patch.setenv(CLIP_VARIABLE, "0.01")
            return client_app.app(message, NOTHING)

    base = trained(load_file(rounds.model))
    rounds.run(GridFleet(Loopback(edges, {"a": private, "b": echo}), CONFIG), CONFIG.round_config, Always())
    noisy, plain = rounds.journal.events("update")
    sent = load_file(rounds.folder / "00001" / "updates" / "a.safetensors")
    noise = np.concatenate([(sent[name] - base[name]).ravel() for name in base])
    assert noise.std() == pytest.approx(0.02, rel=0.02)
    assert noisy["epsilon"] == round(epsilon(2 / 2.0**2), 4)
    assert noisy["losses"] == {}
    assert "epsilon" not in plain
    (tmp_path / "cloud").mkdir()
    rounds.folder.rename(tmp_path / "cloud" / "federation")
    state = read_status(tmp_path / "cloud")
    assert {name: edge["epsilon"] for name, edge in state["edges"].items()} == {
        "a": noisy["epsilon"],
        "b": 0.0,
    }
    assert spent(edges["a"]) == (1, noisy["epsilon"])


def test_an_update_whose_noise_cannot_be_recorded_does_not_leave(
    rounds: Rounds, edges: dict[str, Path]
) -> None:
    def private(message: Message) -> Message:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv(NOISE_VARIABLE, "2.0")
            patch.setenv(CLIP_VARIABLE, "0.01")
            reply = client_app.app(message, NOTHING)
        assert not reply.has_content()
        return reply

    (edges["a"] / LEDGER).mkdir()
    fleet = GridFleet(Loopback(edges, {"a": private, "b": echo}), CONFIG)
    assert rounds.run(fleet, RoundConfig(1, 60, Averaging()), Always())["edges"] == ["b"]
    assert "Cannot write" in rounds.journal.events("discarded")[0]["reason"]


def echo(message: Message) -> Message:
    """EdgeUpdate with the model that was sent, as an edge would that learned nothing."""
    sent = message.content.array_records[MODEL]
    parameters = trained({name: array.numpy() for name, array in sent.items()})
    update = ConfigRecord({"frames": 5, "sha256": fingerprint(parameters)})
    kept = ArrayRecord({name: sent[name] for name in parameters})
    content = RecordDict({MODEL: kept, UPDATE: update, LOSSES: MetricRecord({"total": 1.0})})
    return Message(content, reply_to=message)


def cut(message: Message) -> Message:
    """Truncate a tensor."""
    reply = echo(message)
    record = reply.content.array_records[MODEL]
    whole = record["local.decoder.up3.weight"]
    record["local.decoder.up3.weight"] = Array(whole.dtype, whole.shape, whole.stype, whole.data[:-100])
    return reply


def not_a_number(message: Message) -> Message:
    return changed(message, lambda value: value * np.float32("nan"))


def halved(message: Message) -> Message:
    return changed(message, lambda value: value.astype(np.float16))


def changed(message: Message, change: Callable[[np.ndarray], np.ndarray]) -> Message:
    """EdgeUpdate with a model whose one tensor was changed, under a hash that is right."""
    reply = echo(message)
    record = reply.content.array_records[MODEL]
    record["local.decoder.up3.weight"] = Array(change(record["local.decoder.up3.weight"].numpy()))
    sha256 = fingerprint({name: array.numpy() for name, array in record.items()})
    reply.content[UPDATE] = ConfigRecord({"frames": 5, "sha256": sha256})
    return reply


def gone(message: Message) -> Message:
    return Message(Error(ErrorCode.NODE_UNAVAILABLE, "Node Unavailable"), reply_to=message)


def other(message: Message) -> Message:
    reply = echo(message)
    reply.content[MODEL] = ArrayRecord({"w": Array(np.zeros(3, np.float32))})
    return reply


def no_record(message: Message) -> Message:
    reply = echo(message)
    del reply.content[MODEL]
    return reply


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (cut, "Unreadable update"),
        (other, "a different architecture"),
        (no_record, "Unreadable update: KeyError"),
        (not_a_number, "NaN or infinite values"),
        (halved, "as float16"),
    ],
)
def test_an_invalid_reply_is_discarded(
    rounds: Rounds, edges: dict[str, Path], spoil: Callable[[Message], Message], reason: str
) -> None:
    fleet = GridFleet(Loopback(edges, {"a": spoil, "b": echo}), CONFIG)
    row = rounds.run(fleet, RoundConfig(1, 60, Averaging()), Always())
    assert (row["edges"], row["frames"]) == (["b"], 5)
    assert reason in rounds.journal.events("discarded")[0]["reason"]


def test_an_edge_that_disconnects_is_lost(edges: dict[str, Path], checkpoint: Path) -> None:
    fleet = GridFleet(Loopback(edges, {"a": gone, "b": echo}), CONFIG)
    for edge in fleet.edges():
        fleet.train(edge, 1, checkpoint)
    assert [(update.edge, update.is_lost) for update in fleet.updates()] == [("a", True), ("b", False)]


class Busy(Loopback):
    """A SuperLink whose first answer to each kind of call is an error, and that has lost a node."""

    failed: set[str]

    def fail_once(self, call: str, status: int = 500) -> None:
        if call not in self.failed:
            self.failed.add(call)
            request = httpx.Request("POST", f"https://127.0.0.1/v1/runtime/{call}")
            raise httpx.HTTPStatusError(
                "database is locked", request=request, response=httpx.Response(status)
            )

    def get_nodes(self) -> list[SimpleNamespace]:
        self.fail_once("get-nodes")
        return super().get_nodes()

    def pull_messages(self, numbers: Iterable[str]) -> list[Message]:
        self.fail_once("pull-messages")
        return super().pull_messages(numbers)

    def push_messages(self, messages: Iterable[Message]) -> list[str]:
        if "push-messages" not in self.failed:
            self.failed.add("push-messages")
            return [""]  # as for a node that is no longer registered
        if "push-object" not in self.failed:
            self.failed.add("push-object")
            raise ObjectPushError("1", "2", "3")
        return super().push_messages(messages)


def test_a_round_survives_a_busy_superlink_and_stale_nodes(rounds: Rounds, edges: dict[str, Path]) -> None:
    grid = Busy(edges, {"a": echo, "b": echo})
    grid.failed = set()
    row = rounds.run(GridFleet(grid, CONFIG), CONFIG.round_config, Always())
    assert row["edges"] == ["a", "b"]
    assert grid.failed == {"get-nodes", "push-messages", "push-object", "pull-messages"}
    lost = {row["reason"] for row in rounds.journal.events("discarded")}
    assert lost == {"The message could not be sent: the edge disconnected"}


def test_an_edge_with_a_full_disk_reports_it_and_loses_nothing(
    rounds: Rounds, edges: dict[str, Path], no_room: Callable[[int], AbstractContextManager[None]]
) -> None:
    def reply(message: Message) -> Message:
        with no_room(100_000):  # less than the model's 3.4 MB
            return client_app.app(message, NOTHING)

    before = sorted((edges["a"] / "spool").rglob("*"))
    fleet = GridFleet(Loopback(edges, {"a": reply, "b": echo}), CONFIG)
    assert rounds.run(fleet, RoundConfig(1, 60, Averaging()), Always())["edges"] == ["b"]
    (row,) = rounds.journal.events("discarded")
    assert "Cannot write" in row["reason"]
    assert "Free disk space" in row["reason"]
    assert sorted((edges["a"] / "spool").rglob("*")) == before
    assert not list((edges["a"] / "flower").iterdir())


def test_an_edge_with_a_full_disk_keeps_its_release(
    cloud: CloudFolder,
    rounds: Rounds,
    edges: dict[str, Path],
    no_room: Callable[[int], AbstractContextManager[None]],
) -> None:
    def reply(message: Message) -> Message:
        with no_room(100):
            return client_app.app(message, NOTHING)

    server_app.roll_out(cloud, rounds, GridFleet(Loopback(edges, {"a": reply}), CONFIG))
    (row,) = rounds.journal.events("rolled out")
    assert (row["edge"], row["version"]) == ("a", 0)
    assert "Cannot write" in row["error"]
    assert not list(EdgeFolder(edges["a"]).releases.iterdir())


def test_an_edge_that_cannot_train_reports_why(rounds: Rounds, edges: dict[str, Path]) -> None:
    shutil.rmtree(edges["a"] / "spool" / "frames")
    rounds.run(GridFleet(Loopback(edges, {"b": echo}), CONFIG), RoundConfig(1, 60, Averaging()), Always())
    (row,) = rounds.journal.events("discarded")
    assert "frames" in row["reason"]


@pytest.fixture
def cloud(tmp_path: Path, edges: dict[str, Path]) -> CloudFolder:
    """A cloud with one small release and edges that trust its key."""
    folder = CloudFolder(tmp_path / "cloud")
    make_keys(folder.release_key, folder.release_pub)
    version = folder.registry / "00002"
    version.mkdir(parents=True)
    (version / "stylizer.onnx").write_bytes(b"weights")
    write_manifest(Bundle(version, "tiny", 2, (file_spec(version, "stylizer", "stylizer.onnx", (), ()),)))
    seal(version, Release(2, (1,), 4, "", sha256_of(version / "model.json"), {}, 0.0), folder.release_key)
    for edge in edges.values():
        shutil.copytree(folder.join, edge / "join")
    return folder


def test_a_release_is_installed_on_every_edge_and_confirmed_the_second_time(
    cloud: CloudFolder, rounds: Rounds, edges: dict[str, Path]
) -> None:
    for _ in range(2):
        server_app.roll_out(cloud, rounds, GridFleet(Loopback(edges), CONFIG))
    rows = rounds.journal.events("rolled out")
    assert [(row["edge"], row["version"], row["error"]) for row in rows] == [("a", 2, ""), ("b", 2, "")] * 2
    for edge in edges.values():
        folder = newest(EdgeFolder(edge).releases)
        assert folder
        assert load_bundle(folder).file("stylizer").read_bytes() == b"weights"


def test_a_release_refused_by_the_first_edge_is_not_sent_to_others(
    cloud: CloudFolder, rounds: Rounds, edges: dict[str, Path]
) -> None:
    (cloud.registry / "00002" / "stylizer.onnx").write_bytes(b"weighty")
    grid = Loopback(edges)
    server_app.roll_out(cloud, rounds, GridFleet(grid, CONFIG))
    (row,) = rounds.journal.events("rolled out")
    assert (row["edge"], row["version"]) == ("a", 0)
    assert "is not the file" in row["error"]
    assert grid.sent == ["a"]
    assert newest(EdgeFolder(edges["a"]).releases) is None


def test_a_version_that_the_gateway_does_not_serve_is_withdrawn(
    cloud: CloudFolder, rounds: Rounds, edges: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MVSTYLIZER_METRICS", "http://127.0.0.1:9/metrics")
    monkeypatch.setattr(client_app, "SERVE_TIMEOUT_S", 0.5)
    server_app.roll_out(cloud, rounds, GridFleet(Loopback(edges), CONFIG))
    (row,) = rounds.journal.events("rolled out")
    assert "does not serve version 2" in row["error"]
    assert newest(EdgeFolder(edges["a"]).releases) is None


def test_a_round_without_edges_stops_the_run_with_a_reason(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = CloudFolder(tmp_path / "cloud")
    fill(folder.holdout / "contents", ("chelsea",))
    fill(folder.holdout / "styles", ("coffee",))
    shutil.copy(checkpoint, folder.start)
    monkeypatch.setenv(CLOUD_VARIABLE, str(folder.root))
    config = RunConfig(rounds=1, deadline_s=1, holdout_size=64, submission="x")
    with pytest.raises(Exception, match="no edge replied"):
        server_app.app(Loopback({}), Context(1, 1, {}, RecordDict(), config.as_dict()))
    lines = (folder.federation / "journal.jsonl").read_text().splitlines()
    assert [json.loads(line)["event"] for line in lines] == ["begun", "opened", "failed", "stopped"]
    assert json.loads(lines[-1])["submission"] == "x"


@pytest.mark.parametrize("error", [ZeroDivisionError("by zero"), RunNotRunningException()])
def test_an_unexpected_exception_is_recorded_with_its_type(
    error: BaseException, checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise error

    folder = CloudFolder(tmp_path / "cloud")
    folder.root.mkdir()
    shutil.copy(checkpoint, folder.start)
    monkeypatch.setenv(CLOUD_VARIABLE, str(folder.root))
    monkeypatch.setattr(server_app, "run_rounds", fail)
    with pytest.raises(type(error)):
        server_app.app(Loopback({}), Context(1, 1, {}, RecordDict(), RunConfig(submission="x").as_dict()))
    row = read_journal(folder.federation / "journal.jsonl")[-1]
    assert (row["event"], row["submission"]) == ("stopped", "x")
    assert row["reason"] == f"{type(error).__name__}: {error}".removesuffix(": ")


def test_the_exception_of_a_log_is_found(tmp_path: Path) -> None:
    log = tmp_path / "run.log"
    assert exception_line(log) == ""
    first = "Traceback (most recent call last):\n  File a, line 1\n    lock()\nBlockingIOError: busy\n"
    second = first.replace("BlockingIOError: busy", "fl.journal.JournalError: Another process")
    log.write_text(f"Started\n{first}\nThe above exception was …\n\n{second}\x1b[91mERROR: Exit Code: 201\n")
    assert exception_line(log) == "fl.journal.JournalError: Another process"


def test_a_process_ends_with_its_parent() -> None:
    child = (
        "import time; from fl.flower.processes import end_with_parent; end_with_parent();"
        "print(1, flush=True); time.sleep(60)"
    )
    parent = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {child!r}])"
    with subprocess.Popen([sys.executable, "-c", parent], stdout=subprocess.PIPE) as process:
        assert process.stdout
        assert process.stdout.readline() == b"1\n"
        (orphan,) = psutil.Process(process.pid).children()
        process.kill()
        orphan.wait(10)


def test_a_run_config_is_read_back() -> None:
    config = RunConfig(rounds=3, mode="trimmed", fedprox_mu=0.1, submission="y")
    assert RunConfig.read({**config.as_dict(), "server-round": 9}) == config
    with pytest.raises(ValueError, match="one of frames, equal, trimmed"):
        RunConfig(mode="median")


def test_python_trusts_the_certificates(tmp_path: Path) -> None:
    make_certificates(tmp_path, ("localhost", "127.0.0.1"))
    assert stat.S_IMODE((tmp_path / "server.key").stat().st_mode) == 0o600
    server, client = (
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER),
        ssl.create_default_context(cafile=str(tmp_path / "ca.pem")),
    )
    server.load_cert_chain(tmp_path / "server.pem", tmp_path / "server.key")
    for host, fits in (("localhost", True), ("127.0.0.1", True), ("elsewhere", False)):
        if fits:
            handshake(server, client, host)
        else:
            with pytest.raises(ssl.SSLCertVerificationError):
                handshake(server, client, host)


def handshake(server: ssl.SSLContext, client: ssl.SSLContext, host: str) -> None:
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = [
        client.wrap_bio(to_client, to_server, server_hostname=host),
        server.wrap_bio(to_server, to_client, server_side=True),
    ]
    for _ in range(4):
        for end in list(ends):
            try:
                end.do_handshake()
                ends.remove(end)
            except ssl.SSLWantReadError:
                continue
    assert not ends


def test_flower_can_read_a_node_key(tmp_path: Path) -> None:
    make_node_keys(tmp_path / "node.key", tmp_path / "a.pub")
    private = load_ssh_private_key((tmp_path / "node.key").read_bytes(), None)
    public = load_ssh_public_key((tmp_path / "a.pub").read_bytes())
    assert isinstance(private, ec.EllipticCurvePrivateKey)
    assert private.public_key() == public
    assert private.curve.name == "secp384r1"


def test_an_edge_without_the_join_folder_is_reported(tmp_path: Path) -> None:
    with pytest.raises(FederationError, match=r"ca\.pem is missing\. Copy the folder `join`"):
        EdgeFolder(tmp_path).prepare("a")


def test_submitting_to_a_folder_without_a_cloud_is_reported(tmp_path: Path) -> None:
    with pytest.raises(FederationError, match="is not a cloud folder"):
        submit(tmp_path, CONFIG)
