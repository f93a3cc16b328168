"""Our two Flower apps against each other, without processes: a grid that hands messages straight over."""

from __future__ import annotations

import json
import shutil
import ssl
import stat
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_ssh_private_key, load_ssh_public_key
from flwr.app import Array, ArrayRecord, ConfigRecord, Context, Error, Message, MetricRecord, RecordDict
from flwr.common.constant import ErrorCode
from safetensors.numpy import load_file

from fl.average import Averaging
from fl.flower import client_app, server_app
from fl.flower.certificates import make_certificates, make_node_keys
from fl.flower.cloud import CloudFolder
from fl.flower.edge import EdgeFolder
from fl.flower.fleet import LOSSES, MODEL, UPDATE, GridFleet
from fl.flower.order import Order
from fl.flower.processes import CLOUD_VARIABLE, EDGE_VARIABLE, FederationError
from fl.flower.submit import submit
from fl.gate import Verdict
from fl.parameters import fingerprint
from fl.release import newest, seal
from fl.rounds import Policy, Rounds
from fl.signing import make_keys
from mvstylizer.bundle import Bundle, file_spec, load_bundle, sha256_of, write_manifest
from mvstylizer.release import Release
from tests.fl.conftest import fill

ORDER = Order(rounds=1, quorum=2, deadline_s=60, steps=1, crop=32, learning_rate=1e-5)
NOTHING = Context(1, 1, {}, RecordDict(), {})


class Loopback:
    """A grid whose edges are folders; each message is answered at once, by our app unless scripted.

    Args:
        edges: Folders by name.
        scripted: By edge, what answers instead.
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
                answer = self.scripted.get(name, lambda message: client_app.app(message, NOTHING))
                self.replies[number] = answer(message)
            numbers.append(number)
        return numbers

    def pull_messages(self, numbers: Iterable[str]) -> list[Message]:
        return [self.replies.pop(number) for number in list(numbers) if number in self.replies]


class Always:
    def judge(self, candidate: Path, live: Path) -> Verdict:
        return Verdict(True, (), {})


@pytest.fixture(autouse=True)
def _stay_awake(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_app, "be_polite", lambda: None)  # there is no way back from idle priority


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
    row = rounds.run(GridFleet(Loopback(edges), ORDER), ORDER.policy, Always())
    assert (row["event"], row["edges"], row["frames"]) == ("accepted", ["a", "b"], 6)
    start, merged = load_file(checkpoint), load_file(rounds.model)
    assert max(np.abs(merged[name] - start[name]).max() for name in start) == pytest.approx(1e-5, rel=0.05)
    answers = rounds.journal.events("answer")
    assert answers[0]["sha256"] == answers[1]["sha256"]  # the same photos, the same draw
    assert set(answers[0]["losses"]) == {
        "total",
        "content",
        "style",
        "structure",
        "look",
        "roughness",
        "range",
    }


def echo(message: Message) -> Message:
    """Answer with the model that was sent, as an edge would that learned nothing."""
    sent = message.content.array_records[MODEL]
    parameters = {name: array.numpy() for name, array in sent.items()}
    update = ConfigRecord({"frames": 5, "sha256": fingerprint(parameters)})
    content = RecordDict({MODEL: sent, UPDATE: update, LOSSES: MetricRecord({"total": 1.0})})
    return Message(content, reply_to=message)


def cut(message: Message) -> Message:
    """Lose the end of an upload."""
    reply = echo(message)
    record = reply.content.array_records[MODEL]
    whole = record["decoder.up3.weight"]
    record["decoder.up3.weight"] = Array(whole.dtype, whole.shape, whole.stype, whole.data[:-100])
    return reply


def not_a_number(message: Message) -> Message:
    return changed(message, lambda value: value * np.float32("nan"))


def halved(message: Message) -> Message:
    return changed(message, lambda value: value.astype(np.float16))


def changed(message: Message, change: Callable[[np.ndarray], np.ndarray]) -> Message:
    """Answer with a model whose one tensor was changed, under a hash that is right."""
    reply = echo(message)
    record = reply.content.array_records[MODEL]
    record["decoder.up3.weight"] = Array(change(record["decoder.up3.weight"].numpy()))
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
        (cut, "It cannot be read"),
        (other, "another architecture"),
        (no_record, "It cannot be read: KeyError"),
        (not_a_number, "values that are NaN or infinite"),
        (halved, "as float16"),
    ],
)
def test_a_reply_that_arrives_spoiled(
    rounds: Rounds, edges: dict[str, Path], spoil: Callable[[Message], Message], reason: str
) -> None:
    fleet = GridFleet(Loopback(edges, {"a": spoil, "b": echo}), ORDER)
    row = rounds.run(fleet, Policy(1, 60, Averaging()), Always())
    assert (row["edges"], row["frames"]) == (["b"], 5)
    assert reason in rounds.journal.events("discarded")[0]["reason"]


def test_an_edge_that_goes_away_is_lost_and_not_at_fault(edges: dict[str, Path], checkpoint: Path) -> None:
    fleet = GridFleet(Loopback(edges, {"a": gone, "b": echo}), ORDER)
    for edge in fleet.edges():
        fleet.ask(edge, 1, checkpoint)
    assert [(answer.edge, answer.is_lost) for answer in fleet.answers()] == [("a", True), ("b", False)]


def test_an_edge_whose_disk_is_full_says_so_and_loses_nothing(
    rounds: Rounds, edges: dict[str, Path], no_room: Callable[[int], AbstractContextManager[None]]
) -> None:
    def answer(message: Message) -> Message:
        with no_room(100_000):  # less than the model's 3.4 MB
            return client_app.app(message, NOTHING)

    before = sorted((edges["a"] / "spool").rglob("*"))
    fleet = GridFleet(Loopback(edges, {"a": answer, "b": echo}), ORDER)
    assert rounds.run(fleet, Policy(1, 60, Averaging()), Always())["edges"] == ["b"]
    (row,) = rounds.journal.events("discarded")
    assert "cannot be written" in row["reason"]
    assert "Free space" in row["reason"]
    assert sorted((edges["a"] / "spool").rglob("*")) == before
    assert not list((edges["a"] / "flower").iterdir())


def test_an_edge_whose_disk_is_full_keeps_the_release_it_has(
    cloud: CloudFolder,
    rounds: Rounds,
    edges: dict[str, Path],
    no_room: Callable[[int], AbstractContextManager[None]],
) -> None:
    def answer(message: Message) -> Message:
        with no_room(100):
            return client_app.app(message, NOTHING)

    server_app.roll_out(cloud, rounds, GridFleet(Loopback(edges, {"a": answer}), ORDER))
    (row,) = rounds.journal.events("rolled out")
    assert (row["edge"], row["version"]) == ("a", 0)
    assert "cannot be written" in row["error"]
    assert not list(EdgeFolder(edges["a"]).releases.iterdir())


def test_an_edge_that_cannot_train_says_why(rounds: Rounds, edges: dict[str, Path]) -> None:
    shutil.rmtree(edges["a"] / "spool" / "frames")
    rounds.run(GridFleet(Loopback(edges, {"b": echo}), ORDER), Policy(1, 60, Averaging()), Always())
    (row,) = rounds.journal.events("discarded")
    assert "frames is no folder" in row["reason"]


@pytest.fixture
def cloud(tmp_path: Path, edges: dict[str, Path]) -> CloudFolder:
    """A registry with one small release, whose key the edges trust."""
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


def test_a_release_reaches_every_edge_and_is_confirmed_the_second_time(
    cloud: CloudFolder, rounds: Rounds, edges: dict[str, Path]
) -> None:
    for _ in range(2):
        server_app.roll_out(cloud, rounds, GridFleet(Loopback(edges), ORDER))
    rows = rounds.journal.events("rolled out")
    assert [(row["edge"], row["version"], row["error"]) for row in rows] == [("a", 2, ""), ("b", 2, "")] * 2
    for edge in edges.values():
        folder = newest(EdgeFolder(edge).releases)
        assert folder
        assert load_bundle(folder).file("stylizer").read_bytes() == b"weights"


def test_a_release_that_the_first_edge_refuses_goes_no_further(
    cloud: CloudFolder, rounds: Rounds, edges: dict[str, Path]
) -> None:
    (cloud.registry / "00002" / "stylizer.onnx").write_bytes(b"weighty")
    grid = Loopback(edges)
    server_app.roll_out(cloud, rounds, GridFleet(grid, ORDER))
    (row,) = rounds.journal.events("rolled out")
    assert (row["edge"], row["version"]) == ("a", 0)
    assert "is not the file" in row["error"]
    assert grid.sent == ["a"]
    assert newest(EdgeFolder(edges["a"]).releases) is None


def test_a_version_that_the_gateway_does_not_serve_is_withdrawn(
    cloud: CloudFolder, rounds: Rounds, edges: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MVSTYLIZER_METRICS", "http://127.0.0.1:9/metrics")
    monkeypatch.setattr(client_app, "SERVED_S", 0.5)
    server_app.roll_out(cloud, rounds, GridFleet(Loopback(edges), ORDER))
    (row,) = rounds.journal.events("rolled out")
    assert "does not serve version 2" in row["error"]
    assert newest(EdgeFolder(edges["a"]).releases) is None


def test_a_round_without_edges_ends_the_run_with_its_reason(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = CloudFolder(tmp_path / "cloud")
    fill(folder.holdout / "contents", ("chelsea",))
    fill(folder.holdout / "styles", ("coffee",))
    shutil.copy(checkpoint, folder.start)
    monkeypatch.setenv(CLOUD_VARIABLE, str(folder.root))
    order = Order(rounds=1, deadline_s=1, holdout_size=64, submission="x")
    with pytest.raises(Exception, match="nobody answered"):
        server_app.app(Loopback({}), Context(1, 1, {}, RecordDict(), order.as_dict()))
    lines = (folder.federation / "journal.jsonl").read_text().splitlines()
    assert [json.loads(line)["event"] for line in lines] == ["begun", "opened", "failed", "stopped"]
    assert json.loads(lines[-1])["submission"] == "x"


def test_an_order_survives_the_journey() -> None:
    order = Order(rounds=3, mode="trimmed", proximal=0.1, submission="y")
    assert Order.read({**order.as_dict(), "turn": 9}) == order
    with pytest.raises(ValueError, match="none of frames, equal, trimmed"):
        Order(mode="median")


def test_certificates_that_python_trusts(tmp_path: Path) -> None:
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


def test_a_node_key_is_one_that_flower_reads(tmp_path: Path) -> None:
    make_node_keys(tmp_path / "node.key", tmp_path / "a.pub")
    private = load_ssh_private_key((tmp_path / "node.key").read_bytes(), None)
    public = load_ssh_public_key((tmp_path / "a.pub").read_bytes())
    assert isinstance(private, ec.EllipticCurvePrivateKey)
    assert private.public_key() == public
    assert private.curve.name == "secp384r1"


def test_an_edge_without_what_the_cloud_gives(tmp_path: Path) -> None:
    with pytest.raises(FederationError, match=r"ca\.pem is missing\. Copy the folder `join`"):
        EdgeFolder(tmp_path).prepare("a")


def test_a_folder_that_no_cloud_keeps(tmp_path: Path) -> None:
    with pytest.raises(FederationError, match="is no cloud's folder"):
        submit(tmp_path, ORDER)
