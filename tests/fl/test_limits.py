"""What one hostile edge can say, and what the cloud makes of it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from fl.average import Averaging, cap_weights, merge
from fl.parameters import fingerprint, write_parameters
from fl.round_config import RoundConfig
from fl.rounds import JOURNAL, RoundError, Rounds
from tests.fl.test_rounds import GOOD, Clock, Closer, Steps, changed

ONE = RoundConfig(1, 5, GOOD.averaging)


@pytest.fixture
def start(tmp_path: Path) -> Path:
    path = tmp_path / "start.safetensors"
    write_parameters(path, {"w": np.zeros((3, 4), np.float32)}, {})
    return path


@pytest.fixture
def folder(start: Path, tmp_path: Path) -> Path:
    folder = tmp_path / "federation"
    Rounds(folder, start).journal.close()
    return folder


def run(folder: Path, fleet: Steps, config: RoundConfig = ONE) -> Rounds:
    rounds = Rounds(folder, clock=Clock())
    rounds.run(fleet, config, Closer())
    rounds.journal.close()
    return rounds


@pytest.mark.parametrize(
    "frames", [-1, 10**400, 10**5000, 10**9, float("nan"), float("inf"), True, "7", None, 2.5], ids=type
)
def test_an_impossible_frame_count_is_discarded_and_ends_nothing(folder: Path, frames: object) -> None:
    for server_round in (1, 2):
        rounds = run(folder, Steps({"a": changed(frames=frames)}))
        discarded = rounds.journal.events("discarded")[-1]
        assert (discarded["round"], discarded["edge"]) == (server_round, "a")
        assert "number of frames" in discarded["reason"]
        assert rounds.journal.events("accepted")[-1]["edges"] == ["b"]


@pytest.mark.parametrize(
    "losses",
    [
        {"total": float("nan")},
        {"total": 10**400},
        {"total": "1"},
        {f"loss{number}": 1.0 for number in range(1000)},
        {"x" * 10**6: 1.0},
        {"\x1b[2J": 1.0},
    ],
    ids=len,
)
def test_losses_are_few_finite_numbers(folder: Path, losses: dict[str, object]) -> None:
    rounds = run(folder, Steps({"a": changed(losses=losses)}))
    assert "finite numbers" in rounds.journal.events("discarded")[0]["reason"]
    assert (folder / JOURNAL).stat().st_size < 5000


@pytest.mark.parametrize("name", ["../../escaped", "/tmp/x", "..", ".hidden", "", "a/b", "a\nb", "a" * 64])
def test_an_edge_name_is_never_used_as_a_path(folder: Path, name: str) -> None:
    before = sorted(folder.parent.rglob("*.safetensors"))
    rounds = run(folder, Steps({"a": changed(edge=name)}, edges="ab"))
    assert "not a valid edge name" in rounds.journal.events("discarded")[0]["reason"]
    added = set(folder.parent.rglob("*.safetensors")) - set(before)
    assert {path.relative_to(folder).as_posix() for path in added} == {
        "00001/model.safetensors",
        "00001/updates/b.safetensors",
    }


@pytest.mark.parametrize("text", ["x" * 20_000_000, "\x1b[2J" * 1000, "a\nb\r" * 1000], ids=len)
def test_a_huge_error_text_does_not_enter_the_journal(folder: Path, text: str) -> None:
    unknown = {"w": np.zeros((3, 4), np.float32), text: np.zeros(1, np.float32)}
    for spoil in (
        changed(parameters=None, error=text),
        changed(parameters=unknown, sha256=fingerprint(unknown)),
    ):
        rounds = run(folder, Steps({"a": spoil}))
        assert rounds.journal.events("discarded")[-1]["reason"].isprintable()
    assert (folder / JOURNAL).stat().st_size < 8000


def poison(folder: Path, **fields: object) -> None:
    """Edit the row of edge a, as versions without limits wrote it."""
    lines = (folder / JOURNAL).read_text().splitlines()
    rows = [json.loads(line) for line in lines]
    edited = [{**row, **(fields if row["event"] == "update" else {})} for row in rows]
    (folder / JOURNAL).write_text("".join(json.dumps(row) + "\n" for row in edited))


def half_round(folder: Path) -> Path:
    """Leave round 1 unfinished with an update of edge a; return the file of the update."""
    rounds = Rounds(folder, clock=Clock())
    with pytest.raises(RoundError, match="1 of 2 edges replied"):
        rounds.run(Steps(edges="a"), GOOD, Closer())
    rounds.journal.close()
    return folder / "00001" / "updates" / "a.safetensors"


@pytest.mark.parametrize("frames", [-1, 10**400], ids=[0, 1])
def test_a_bad_record_in_the_journal_is_set_aside_and_its_edge_asked_again(folder: Path, frames: int) -> None:
    half_round(folder)
    poison(folder, frames=frames)
    fleet = Steps()
    rounds = run(folder, fleet, GOOD)
    assert fleet.started == [("a", 1), ("b", 1)]
    assert rounds.journal.events("accepted")[0]["frames"] == 400


@pytest.mark.parametrize("damage", ["missing", "cut", "flipped", "other"])
def test_a_damaged_update_file_is_set_aside_and_its_edge_asked_again(folder: Path, damage: str) -> None:
    path = half_round(folder)
    content = path.read_bytes()
    if damage == "missing":
        path.unlink()
    elif damage == "other":
        write_parameters(path, {"v": np.zeros(3, np.float32)}, {})
    else:
        path.write_bytes(content[:-5] if damage == "cut" else content[:-1] + bytes([content[-1] ^ 1]))
    fleet = Steps()
    rounds = run(folder, fleet, GOOD)
    assert fleet.started == [("a", 1), ("b", 1)]
    assert [row["edge"] for row in rounds.journal.events("discarded")] == ["a"]
    np.testing.assert_allclose(load_file(rounds.model)["w"], 3.5)


def test_a_lying_count_does_not_take_the_whole_step() -> None:
    base = {"w": np.zeros(5, np.float32)}
    updates = [{"w": row} for row in np.eye(5, dtype=np.float32)]
    step = merge(base, updates, [100, 90, 110, 100, 10_000_000], Averaging())["w"]
    assert step[4] == pytest.approx(1000 / 1400)  # ten times the median of 100
    lifted = merge(base, updates, [100, 90, 110, 100, 10_000_000], Averaging(max_weight=0))["w"]
    assert lifted[4] > 0.9999
    one = merge(base, updates, [100, 90, 110, 100, 10_000_000], Averaging(max_weight=1))["w"]
    assert one[4] == one[0]


def test_weights_are_capped_by_the_lower_median_of_those_above_zero() -> None:
    assert cap_weights([0, 0, 0, 3, 500], 10) == [0, 0, 0, 3, 30]
    assert cap_weights([100, 10**7], 10) == [100, 1000]
    assert cap_weights([0, 0], 10) == [0, 0]
    assert cap_weights([7], 10) == [7]
    assert cap_weights([1, 10**7], 0) == [1, 10**7]


@pytest.mark.parametrize("max_weight", [-1.0, float("nan")])
def test_an_invalid_limit_of_weights_is_rejected(max_weight: float) -> None:
    with pytest.raises(ValueError, match="max_weight must not be negative"):
        Averaging(max_weight=max_weight)
