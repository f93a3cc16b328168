"""Rounds over a problem with a known solution: every edge steps towards its own target."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from fl.average import Averaging
from fl.fleet import EdgeUpdate
from fl.flower.adam import ServerAdam
from fl.gate import GateDecision
from fl.parameters import Parameters, ParametersError, fingerprint, map_parameters, write_parameters
from fl.round_config import RoundConfig
from fl.rounds import RoundError, Rounds

TARGETS = {"a": (4.0, 100), "b": (8.0, 300)}
GOOD = RoundConfig(quorum=2, deadline_s=5, averaging=Averaging(clip=0))


class Steps:
    """A fleet in this process: each edge moves halfway to its target.

    Args:
        spoil: By edge, a function that modifies its update or drops it (None).
    """

    def __init__(
        self, spoil: dict[str, Callable[[EdgeUpdate], EdgeUpdate | None]] | None = None, edges: str = "ab"
    ) -> None:
        self.spoil, self.started, self.there = spoil or {}, [], list(edges)
        self.coming: list[EdgeUpdate] = []

    def edges(self) -> Sequence[str]:
        return self.there

    def train(self, edge: str, server_round: int, model: Path) -> None:
        self.started.append((edge, server_round))
        target, frames = TARGETS[edge]
        start, _ = map_parameters(model)
        moved = {name: np.float32(0.5) * (value + np.float32(target)) for name, value in start.items()}
        update: EdgeUpdate | None = EdgeUpdate(
            edge, server_round, moved, frames, {"total": target}, fingerprint(moved)
        )
        if edge in self.spoil and update:
            update = self.spoil[edge](update)
        if update:
            self.coming.append(update)

    def updates(self) -> Sequence[EdgeUpdate]:
        came, self.coming = self.coming, []
        return came


class Closer:
    """Accepts a model that is closer to 7, the frame-weighted mean of the targets."""

    def evaluate(self, candidate: Path, live: Path) -> GateDecision:
        new, old = (abs(float(load_file(path)["w"].mean()) - 7) for path in (candidate, live))
        return GateDecision(
            new < old, () if new < old else (f"distance to 7 is {new}, live model: {old}",), {}
        )


class Clock:
    """Advances by a second at each call."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        self.now += 1
        return self.now


@pytest.fixture
def start(tmp_path: Path) -> Path:
    path = tmp_path / "start.safetensors"
    write_parameters(path, {"w": np.zeros((3, 4), np.float32)}, {"format": "kept"})
    return path


@pytest.fixture
def rounds(start: Path, tmp_path: Path) -> Rounds:
    return Rounds(tmp_path / "federation", start, clock=Clock())


def changed(**fields: object) -> Callable[[EdgeUpdate], EdgeUpdate]:
    return lambda update: EdgeUpdate(**{**vars(update), **fields})  # type: ignore[arg-type]


def of(parameters: Callable[[Parameters], Parameters]) -> Callable[[EdgeUpdate], EdgeUpdate]:
    def spoil(update: EdgeUpdate) -> EdgeUpdate:
        assert update.parameters is not None
        made = parameters(update.parameters)
        return EdgeUpdate(**{**vars(update), "parameters": made, "sha256": fingerprint(made)})

    return spoil


def test_rounds_converge_on_the_mean_weighted_by_frames(rounds: Rounds) -> None:
    for server_round in (1, 2, 3):
        row = rounds.run(Steps(), GOOD, Closer())
        assert (row["event"], row["round"], row["edges"], row["frames"]) == (
            "accepted",
            server_round,
            ["a", "b"],
            400,
        )
    np.testing.assert_allclose(load_file(rounds.model)["w"], 7 * (1 - 0.5**3))
    assert map_parameters(rounds.model)[1] == {"format": "kept"}


def test_a_worse_average_is_refused_with_a_reason_and_not_trained_on(rounds: Rounds) -> None:
    rounds.run(Steps(), GOOD, Closer())
    good = rounds.model
    row = rounds.run(Steps({"a": of(lambda p: {"w": p["w"] - 900})}), GOOD, Closer())
    assert row["event"] == "refused"
    assert "live model" in row["reasons"][0]
    assert rounds.model == good
    assert rounds.model_path(2).is_file()
    assert rounds.run(Steps(), GOOD, Closer())["round"] == 3


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (of(lambda p: {"w": p["w"] * np.nan}), "12 NaN or infinite values"),
        (of(lambda p: {"w": p["w"].astype(np.float64)}), "w as float64"),
        (of(lambda p: {"w": p["w"][:2]}), r"w as float32\[2, 4\]"),
        (of(lambda p: {**p, "more": p["w"]}), "a different architecture"),
        (changed(sha256="0" * 64), "do not match their fingerprint"),
        (changed(parameters=None, error="out of memory"), "out of memory"),
    ],
)
def test_an_invalid_update_is_discarded_with_a_reason(
    rounds: Rounds, spoil: Callable[[EdgeUpdate], EdgeUpdate], reason: str
) -> None:
    rounds.run(Steps({"a": spoil}), RoundConfig(1, 5, GOOD.averaging), Closer())
    (row,) = rounds.journal.events("discarded")
    assert row["edge"] == "a"
    assert re.search(reason, row["reason"])
    np.testing.assert_allclose(load_file(rounds.model)["w"], 4)  # b alone: halfway to 8


@pytest.mark.usefixtures("identity")
def test_fedadam_keeps_its_moments_and_forgets_those_of_a_refused_round(rounds: Rounds) -> None:
    adam = RoundConfig(2, 5, Averaging(clip=0), server_optimizer=ServerAdam(1.0))
    rounds.run(Steps(), adam, Closer())
    moments = map_parameters(rounds.model_path(1).with_name("moments.safetensors"))[0]
    np.testing.assert_allclose(moments["m.w"], 0.1 * 3.5)  # the average is 3.5, the start 0
    np.testing.assert_allclose(moments["v.w"], 0.01 * 3.5**2, rtol=1e-6)
    first = load_file(rounds.model)["w"]
    unbiased = np.sqrt(1 - 0.99**2) / (1 - 0.9**2)
    np.testing.assert_allclose(first, unbiased * 0.35 / (0.35 + 1e-3), rtol=1e-5)
    bad = Steps({"a": of(lambda p: {"w": p["w"] - 900})})
    assert rounds.run(bad, adam, Closer())["event"] == "refused"
    assert rounds.run(Steps(), adam, Closer())["event"] == "accepted"
    moments = map_parameters(rounds.model.with_name("moments.safetensors"))[0]
    np.testing.assert_allclose(moments["m.w"], 0.9 * 0.35 + 0.1 * (7 - first) / 2, rtol=1e-5)


def test_a_round_without_updates_is_an_error_and_stays_open(rounds: Rounds) -> None:
    silent = Steps({"a": lambda _: None, "b": lambda _: None})
    with pytest.raises(RoundError, match="Round 1: no edge replied within 5 s"):
        rounds.run(silent, GOOD, Closer())
    with pytest.raises(RoundError, match="no edge replied"):
        rounds.run(Steps(edges=""), GOOD, Closer())
    assert rounds.next_round == 1
    assert [row["reason"] for row in rounds.journal.events("failed")] == ["no edge replied"] * 2


def test_updates_below_the_quorum_are_kept_for_the_next_attempt(rounds: Rounds) -> None:
    with pytest.raises(RoundError, match="1 of 2 edges replied"):
        rounds.run(Steps(edges="a"), GOOD, Closer())
    fleet = Steps()
    assert rounds.run(fleet, GOOD, Closer())["edges"] == ["a", "b"]
    assert fleet.started == [("b", 1)]


def test_a_late_update_counts_in_the_next_round_with_half_its_weight(rounds: Rounds) -> None:
    late: list[EdgeUpdate] = []

    def delay(update: EdgeUpdate) -> None:
        late.append(update)

    fleet = Steps({"b": delay})
    assert rounds.run(fleet, RoundConfig(1, 5, GOOD.averaging), Closer())["edges"] == [
        "a"
    ]  # b missed the deadline
    fleet.coming, fleet.spoil = late, {}
    row = rounds.run(fleet, RoundConfig(1, 5, GOOD.averaging), Closer())
    assert row["edges"] == ["a", "b"]
    assert fleet.started == [("a", 1), ("b", 1), ("a", 2)]
    # a: from 2 halfway to 4 = 3, 100 frames; b: its update of round 1, 4, 300 frames counted half.
    np.testing.assert_allclose(load_file(rounds.model)["w"], (3 * 100 + 4 * 150) / 250, rtol=1e-6)


def test_an_edge_killed_during_a_round_is_started_again_when_it_is_back(rounds: Rounds) -> None:
    class Killed(Steps):
        """b disconnects after it was started, and is back a few calls later."""

        calls = 0

        def edges(self) -> Sequence[str]:
            self.calls += 1
            return ["a"] if 2 <= self.calls <= 4 else ["a", "b"]

    def lose(update: EdgeUpdate) -> EdgeUpdate:
        del fleet.spoil["b"]
        return EdgeUpdate(update.edge, update.server_round, error="Node Unavailable", is_lost=True)

    fleet = Killed({"b": lose})
    row = rounds.run(fleet, RoundConfig(2, 60, GOOD.averaging), Closer())
    assert (row["edges"], row["frames"]) == (["a", "b"], 400)
    assert fleet.started == [("a", 1), ("b", 1), ("b", 1)]
    assert [row["reason"] for row in rounds.journal.events("discarded")] == ["Node Unavailable"]


def test_a_round_continues_without_a_killed_edge(rounds: Rounds) -> None:
    def lose(update: EdgeUpdate) -> EdgeUpdate:
        fleet.there = ["a"]
        return EdgeUpdate(update.edge, update.server_round, error="Node Unavailable", is_lost=True)

    fleet = Steps({"b": lose})
    assert rounds.run(fleet, RoundConfig(1, 60, GOOD.averaging), Closer())["edges"] == ["a"]


def test_an_edge_that_scales_its_weights_is_clipped_or_refused(rounds: Rounds) -> None:
    rounds.run(Steps(), GOOD, Closer())
    good = rounds.model
    scaled = {"a": of(lambda p: {"w": 10 * p["w"]})}
    assert rounds.run(Steps(scaled), GOOD, Closer())["event"] == "refused"  # without clipping
    assert rounds.model == good
    assert rounds.run(Steps(scaled), RoundConfig(2, 5, Averaging(clip=3)), Closer())["event"] == "accepted"
    # a may go three times as far as b: from 3.5 to 3.5 + 3 · 2.25, 100 frames of 400.
    np.testing.assert_allclose(load_file(rounds.model)["w"], (10.25 * 100 + 5.75 * 300) / 400)


def test_an_edge_that_connects_during_a_round_takes_part(rounds: Rounds) -> None:
    class Coming(Steps):
        def updates(self) -> Sequence[EdgeUpdate]:
            self.there = ["a", "b"]
            return super().updates()

    assert rounds.run(Coming(edges="a"), GOOD, Closer())["edges"] == ["a", "b"]


KILLED = """
import os, signal, sys
from pathlib import Path
from tests.fl.test_rounds import GOOD, Closer, Steps
from fl.rounds import Rounds

class Dies(Steps):
    def updates(self):
        if not self.there:
            os.kill(os.getpid(), signal.SIGKILL)
        self.there, came = [], super().updates()
        return came[:1]

Rounds(Path(sys.argv[1]), Path(sys.argv[2])).run(Dies(edges="ab"), GOOD, Closer())
"""


def test_a_cloud_killed_during_a_round_resumes_with_its_updates(start: Path, tmp_path: Path) -> None:
    folder = tmp_path / "federation"
    Rounds(folder, start).run(Steps(), GOOD, Closer())
    died = subprocess.run([sys.executable, "-c", KILLED, folder, start], cwd=Path(__file__).parents[2])
    assert died.returncode == -signal.SIGKILL
    resumed = Rounds(folder)
    assert resumed.next_round == 2
    fleet = Steps()
    row = resumed.run(fleet, GOOD, Closer())
    assert fleet.started == [("b", 2)]
    assert (row["round"], row["edges"]) == (2, ["a", "b"])
    np.testing.assert_allclose(load_file(resumed.model)["w"], 7 * (1 - 0.5**2))


def test_updates_of_old_rounds_are_deleted_and_models_are_kept(rounds: Rounds) -> None:
    for _ in range(5):
        rounds.run(Steps(), GOOD, Closer())
    kept = sorted(path.parent.name for path in rounds.folder.glob("*/updates"))
    assert kept == ["00003", "00004", "00005"]
    assert all(rounds.model_path(server_round).is_file() for server_round in range(6))


def test_a_new_federation_needs_a_start(tmp_path: Path) -> None:
    with pytest.raises(RoundError, match="contains no federation"):
        Rounds(tmp_path / "new")


def test_a_start_that_is_not_float32_is_rejected(tmp_path: Path) -> None:
    save_file({"w": np.zeros(3, np.float16)}, tmp_path / "half.safetensors")
    with pytest.raises(ParametersError, match="F16"):
        Rounds(tmp_path / "new", tmp_path / "half.safetensors")
