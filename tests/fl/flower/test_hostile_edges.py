"""Replies and names that only a hostile or broken edge sends, through Flower's messages."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from flwr.app import Array, ArrayRecord, ConfigRecord, Error, Message, MetricRecord, RecordDict

from fl.average import Averaging
from fl.flower import server_app
from fl.flower.cloud import CloudFolder
from fl.flower.fleet import LOSSES, MODEL, RELEASE, UPDATE, GridFleet
from fl.journal import Row
from fl.round_config import RoundConfig
from fl.rounds import JOURNAL, Rounds
from tests.fl.flower.test_flower import CONFIG, Always, Loopback, echo

ONE = RoundConfig(1, 60, Averaging())
pytestmark = pytest.mark.usefixtures("identity")


@pytest.fixture
def rounds(checkpoint: Path, tmp_path: Path) -> Rounds:
    return Rounds(tmp_path / "federation", checkpoint)


def claiming(**claims: object) -> Callable[[Message], Message]:
    def reply(message: Message) -> Message:
        answer = echo(message)
        answer.content[UPDATE] = ConfigRecord({**answer.content.config_records[UPDATE], **claims})  # type: ignore[dict-item]
        return answer

    return reply


def failing(message: Message) -> Message:
    return Message(Error(1000, "\x1b[2J" + "x" * 20_000_000), reply_to=message)


def archive(message: Message) -> Message:
    """Send an .npz, which numpy opens lazily, as a tensor."""
    stream = io.BytesIO()
    np.savez_compressed(stream, zeros=np.zeros(10_000_000, np.float32))
    return with_tensor(message, stream.getvalue())


def boundless(message: Message) -> Message:
    """Claim a petabyte in the header of a tensor."""
    stream = io.BytesIO()
    np.lib.format.write_array_header_1_0(stream, {"descr": "<f4", "fortran_order": False, "shape": (2**48,)})
    return with_tensor(message, stream.getvalue())


def with_tensor(message: Message, content: bytes) -> Message:
    answer = echo(message)
    record = answer.content.array_records[MODEL]
    name = next(iter(record))
    record[name] = Array("float32", (3,), "numpy.ndarray", content)
    return answer


def many_names(message: Message) -> Message:
    answer = echo(message)
    tensor = Array(np.zeros(1, np.float32))
    answer.content[MODEL] = ArrayRecord({f"{number}{'x' * 1000}": tensor for number in range(2000)})
    return answer


def many_losses(message: Message) -> Message:
    answer = echo(message)
    answer.content[LOSSES] = MetricRecord({f"loss{number}": 1.0 for number in range(10_000)})
    return answer


@pytest.mark.parametrize(
    "reply",
    [
        claiming(frames=-1),
        claiming(frames="1" + "0" * 400),
        claiming(frames="9" * 5000),
        claiming(frames=1e308),
        claiming(sha256="x" * 10**7),
        claiming(epsilon="nan"),
        claiming(epsilon=-1.0),
        claiming(epsilon="9" * 400),
        failing,
        archive,
        boundless,
        many_names,
        many_losses,
    ],
    ids=range(13),
)
def test_no_reply_of_one_edge_ends_a_round(
    rounds: Rounds, tmp_path: Path, reply: Callable[[Message], Message]
) -> None:
    grid = Loopback({name: tmp_path for name in "ab"}, {"a": reply, "b": echo})
    assert rounds.run(GridFleet(grid, CONFIG), ONE, Always())["edges"] == ["b"]
    (row,) = rounds.journal.events("discarded")
    assert row["edge"] == "a"
    assert row["reason"].isprintable()
    assert (rounds.folder / JOURNAL).stat().st_size < 5000


def test_a_node_whose_name_is_not_a_name_is_ignored(rounds: Rounds, tmp_path: Path) -> None:
    names = ("../../escaped", "/tmp/escaped", "\x1b[2J", "x" * 1000, "b")
    fleet = GridFleet(Loopback(dict.fromkeys(names, tmp_path), dict.fromkeys(names, echo)), CONFIG)
    assert fleet.edges() == ["b"]
    assert rounds.run(fleet, ONE, Always())["edges"] == ["b"]
    assert not list(tmp_path.rglob("*escaped*"))


@pytest.mark.parametrize(
    "content", [{}, {"version": "x" * 10**7}, {"version": b"2"}, {"version": "9" * 4000}, None], ids=range(5)
)
def test_an_unreadable_reply_to_a_release_is_reported(
    rounds: Rounds, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: dict[str, str] | None
) -> None:
    def reply(message: Message) -> Message:
        records = RecordDict({} if content is None else {RELEASE: ConfigRecord(content)})  # type: ignore[arg-type]
        return Message(records, reply_to=message)

    rows = roll_out(rounds, tmp_path, monkeypatch, reply)
    assert [(row["edge"], row["version"]) for row in rows] == [("a", 0)]
    assert rows[0]["error"].startswith("Unreadable reply: ")
    assert len(rows[0]["error"]) < 600


def test_a_huge_error_of_a_release_is_cut(
    rounds: Rounds, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (row,) = roll_out(rounds, tmp_path, monkeypatch, failing)
    assert len(row["error"]) < 600
    assert row["error"].isprintable()


def roll_out(
    rounds: Rounds, folder: Path, monkeypatch: pytest.MonkeyPatch, reply: Callable[[Message], Message]
) -> list[Row]:
    """Roll out a version to edge a, which replies as given."""
    monkeypatch.setattr(server_app, "versions", lambda _: [2])
    monkeypatch.setattr(server_app, "release_files", lambda _: [("release.json", b"{}")])
    fleet = GridFleet(Loopback({"a": folder}, {"a": reply}), CONFIG)
    server_app.roll_out(CloudFolder(folder), rounds, fleet)
    return rounds.journal.events("rolled out")
