"""Flower's wrapper around our parameters: what it clips, and how much noise it puts on the mean."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from fl.average import distance
from fl.flower.order import Order
from fl.flower.privacy import DELTA, Privacy
from fl.parameters import map_parameters, write_parameters
from fl.rounds import Answer, Rounds
from tests.fl.test_rounds import Steps

pytestmark = pytest.mark.usefixtures("identity")

SIDE = 300


def model(value: float) -> dict[str, np.ndarray]:
    return {"b": np.full((SIDE, SIDE), value, np.float32), "a": np.full(7, -value, np.float32)}


def test_almost_without_noise_it_is_the_mean_of_the_clipped_updates() -> None:
    base, near, far = model(1.0), model(1.001), model(9.0)
    before = {name: value.copy() for name, value in far.items()}
    clip = 2 * distance(near, base)
    merged = Privacy(1e-9, clip).average(base, [near, far])
    # The near one keeps its step of 0.001, the far one is shortened to 0.002.
    np.testing.assert_allclose(merged["b"], 1.0015, rtol=1e-6)
    np.testing.assert_allclose(merged["a"], -1.0015, rtol=1e-6)
    assert merged["b"].dtype == np.float32
    np.testing.assert_array_equal(far["b"], before["b"])  # files are mapped: nothing is clipped in place


def test_the_noise_is_the_mechanisms_own() -> None:
    base = model(0.0)
    merged = Privacy(noise=0.5, clip=3.0).average(base, [base] * 4)
    assert merged["b"].std() == pytest.approx(0.5 * 3.0 / 4, rel=0.02)
    assert abs(merged["b"].mean()) < 5 * 0.375 / SIDE
    assert not np.array_equal(merged["b"], Privacy(0.5, 3.0).average(base, [base] * 4)["b"])


@pytest.mark.parametrize("noise", [0.5, 1.0, 4.0])
def test_epsilon_is_the_best_of_renyis_orders(noise: float) -> None:
    orders = np.geomspace(1.0001, 1e4, 100_000)
    for releases in (1, 7, 100):
        bounds = releases * orders / (2 * noise**2) + math.log(1 / DELTA) / (orders - 1)
        assert Privacy(noise, 1.0).epsilon(releases) == pytest.approx(bounds.min(), rel=1e-4)


def test_rounds_say_what_they_have_spent(tmp_path: Path) -> None:
    class Always:
        def judge(self, candidate: Path, live: Path) -> object:
            from fl.gate import Verdict

            return Verdict(True, (), {})

    start = tmp_path / "start.safetensors"
    write_parameters(start, {"w": np.zeros((30, 40), np.float32)}, {})
    rounds = Rounds(tmp_path / "federation", start)
    policy = Order(dp_noise=1.0, dp_clip=0.1, deadline_s=60).policy
    heavy = Steps({"b": lambda answer: Answer(**{**vars(answer), "frames": 10**9})})  # has no more say for it
    spent = [rounds.run(heavy, policy, Always())["epsilon"] for _ in range(2)]
    assert spent == [round(Privacy(1.0, 0.1).epsilon(n), 4) for n in (1, 2)]
    merged = map_parameters(rounds.model_path(1))[0]["w"]
    assert merged.std() == pytest.approx(0.1 / 2, rel=0.1)
    assert abs(merged.mean()) < 0.01  # updates of 2 and 4 a value, clipped to 0.1 in all


def test_settings_that_protect_nobody() -> None:
    for noise, clip in ((0.0, 1.0), (1.0, 0.0), (float("nan"), 1.0)):
        with pytest.raises(ValueError, match="must be above 0"):
            Privacy(noise, clip)
    with pytest.raises(ValueError, match="dp_noise"):
        Order(dp_noise=-1)
    assert Order().policy.private is None
