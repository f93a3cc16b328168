"""Differential privacy: clipping of updates, noise on the mean, and the reported epsilon."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from fl.average import distance
from fl.edge_privacy import DELTA
from fl.fleet import EdgeUpdate
from fl.flower.privacy import GaussianMechanism
from fl.flower.run_config import RunConfig
from fl.parameters import map_parameters, write_parameters
from fl.rounds import Rounds
from tests.fl.test_rounds import Steps

pytestmark = pytest.mark.usefixtures("identity")

SIDE = 300


def model(value: float) -> dict[str, np.ndarray]:
    return {"b": np.full((SIDE, SIDE), value, np.float32), "a": np.full(7, -value, np.float32)}


def test_with_little_noise_the_result_is_the_mean_of_the_clipped_updates() -> None:
    base, near, far = model(1.0), model(1.001), model(9.0)
    before = {name: value.copy() for name, value in far.items()}
    clip = 2 * distance(near, base)
    merged = GaussianMechanism(1e-9, clip).average(base, [near, far])
    # The near update keeps its step of 0.001; the far one is clipped to 0.002.
    np.testing.assert_allclose(merged["b"], 1.0015, rtol=1e-6)
    np.testing.assert_allclose(merged["a"], -1.0015, rtol=1e-6)
    assert merged["b"].dtype == np.float32
    np.testing.assert_array_equal(far["b"], before["b"])  # not clipped in place: files are memory-mapped


def test_the_noise_has_the_standard_deviation_of_the_mechanism() -> None:
    base = model(0.0)
    merged = GaussianMechanism(noise=0.5, clip=3.0).average(base, [base] * 4)
    assert merged["b"].std() == pytest.approx(0.5 * 3.0 / 4, rel=0.02)
    assert abs(merged["b"].mean()) < 5 * 0.375 / SIDE
    assert not np.array_equal(merged["b"], GaussianMechanism(0.5, 3.0).average(base, [base] * 4)["b"])


@pytest.mark.parametrize("noise", [0.5, 1.0, 4.0])
def test_epsilon_is_the_minimum_over_renyi_orders(noise: float) -> None:
    orders = np.geomspace(1.0001, 1e4, 100_000)
    for releases in (1, 7, 100):
        bounds = releases * orders / (2 * noise**2) + math.log(1 / DELTA) / (orders - 1)
        assert GaussianMechanism(noise, 1.0).epsilon(releases) == pytest.approx(bounds.min(), rel=1e-4)


def test_rounds_record_the_privacy_spent(tmp_path: Path) -> None:
    class Always:
        def evaluate(self, candidate: Path, live: Path) -> object:
            from fl.gate import GateDecision

            return GateDecision(True, (), {})

    start = tmp_path / "start.safetensors"
    write_parameters(start, {"w": np.zeros((30, 40), np.float32)}, {})
    rounds = Rounds(tmp_path / "federation", start)
    config = RunConfig(dp_noise=1.0, dp_clip=0.1, deadline_s=60).round_config
    heavy = Steps({"b": lambda update: EdgeUpdate(**{**vars(update), "frames": 10**6})})  # weight is ignored
    spent = [rounds.run(heavy, config, Always())["epsilon"] for _ in range(2)]
    assert spent == [round(GaussianMechanism(1.0, 0.1).epsilon(n), 4) for n in (1, 2)]
    merged = map_parameters(rounds.model_path(1))[0]["w"]
    assert merged.std() == pytest.approx(0.1 / 2, rel=0.1)
    assert abs(merged.mean()) < 0.01  # updates of 2 and 4 per value, clipped to a norm of 0.1


def test_settings_without_protection_are_rejected() -> None:
    for noise, clip in ((0.0, 1.0), (1.0, 0.0), (float("nan"), 1.0)):
        with pytest.raises(ValueError, match="must be positive"):
            GaussianMechanism(noise, clip)
    with pytest.raises(ValueError, match="dp_noise"):
        RunConfig(dp_noise=-1)
    assert RunConfig().round_config.privacy is None
