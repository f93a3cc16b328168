"""Differential privacy at the edge: the noise, the epsilon, and the ledger of what was spent."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from fl.average import distance
from fl.edge_privacy import DELTA, LEDGER, EdgePrivacy, PrivacyError, charge, epsilon, spent
from fl.journal import JournalError
from fl.status import read_status, table

SIDE = 300


def model(value: float) -> dict[str, np.ndarray]:
    return {"b": np.full((SIDE, SIDE), value, np.float32), "a": np.full(7, -value, np.float32)}


def test_an_update_is_clipped_and_noised() -> None:
    base, update = model(1.0), model(9.0)
    before = {name: value.copy() for name, value in update.items()}
    quiet = EdgePrivacy(noise=1e-9, clip=2.0).noised(base, update)
    assert distance(quiet, base) == pytest.approx(2.0, rel=1e-4)
    near = EdgePrivacy(noise=1e-9, clip=1e9).noised(base, update)
    np.testing.assert_allclose(near["b"], 9.0, atol=5)  # not clipped
    loud = EdgePrivacy(noise=0.5, clip=3.0).noised(base, base)
    assert (loud["b"] - 1).std() == pytest.approx(1.5, rel=0.02)
    assert abs((loud["b"] - 1).mean()) < 5 * 1.5 / SIDE
    assert {value.dtype for value in loud.values()} == {np.dtype(np.float32)}
    for name, value in update.items():
        np.testing.assert_array_equal(value, before[name])


def test_noise_is_never_repeated() -> None:
    base, privacy = model(0.0), EdgePrivacy(1.0, 1.0)
    first, second = (privacy.noised(base, base)["b"] for _ in range(2))
    assert abs(np.corrcoef(first.ravel(), second.ravel())[0, 1]) < 0.02


@pytest.mark.parametrize("noise", [1.0, 5.0])
def test_epsilon_is_the_minimum_over_renyi_orders(noise: float) -> None:
    """Mironov 2017: order · sensitivity² / (2 deviation²); other photos move an update by up to 2 · clip."""
    orders = np.geomspace(1.0001, 1e4, 100_000)
    clip = 0.7
    for updates in (1, 30):
        divergence = updates * orders * (2 * clip) ** 2 / (2 * (noise * clip) ** 2)
        bound = (divergence + math.log(1 / DELTA) / (orders - 1)).min()
        assert epsilon(updates * EdgePrivacy(noise, clip).cost) == pytest.approx(bound, rel=1e-4)


def test_the_ledger_adds_up_over_restarts_and_settings(tmp_path: Path) -> None:
    assert spent(tmp_path) == (0, 0.0)
    settings = [EdgePrivacy(2.0, 1.0), EdgePrivacy(2.0, 0.1), EdgePrivacy(8.0, 1.0)]
    found = [charge(tmp_path, privacy, number) for number, privacy in enumerate(settings, 1)]
    costs = np.cumsum([2 / 4, 2 / 4, 2 / 64])
    assert found == [round(epsilon(cost), 4) for cost in costs]
    assert spent(tmp_path) == (3, found[-1])
    state = read_status(tmp_path)
    assert state == {"schema_version": 2, "updates": 3, "epsilon": found[-1], "delta": DELTA}
    assert table(state).startswith("3 updates left this edge with noise: epsilon ")


def test_what_cannot_be_recorded_is_an_error(tmp_path: Path) -> None:
    (tmp_path / LEDGER).mkdir()
    with pytest.raises(PrivacyError, match="Cannot write"):
        charge(tmp_path, EdgePrivacy(1.0, 1.0), 1)
    (tmp_path / LEDGER).rmdir()
    (tmp_path / LEDGER).write_text("nonsense\n")
    with pytest.raises(JournalError):
        charge(tmp_path, EdgePrivacy(1.0, 1.0), 1)


@pytest.mark.parametrize(
    ("noise", "clip"), [(0, 1), (-1, 1), (1, 0), (math.nan, 1), (math.inf, 1), (1, math.inf)]
)
def test_settings_without_protection_are_rejected(noise: float, clip: float) -> None:
    with pytest.raises(ValueError, match="must be positive"):
        EdgePrivacy(noise, clip)
