"""FedAdam: Flower's step against PyTorch's Adam, its moments kept and given back."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from fl.flower.adam import ADAPTIVITY, BETA_1, BETA_2, Adam
from tests.fl.test_average import model, plus, seeds, untimed

pytestmark = pytest.mark.usefixtures("identity")


def unbiased(turn: int) -> float:
    return float(np.sqrt(1 - BETA_2**turn) / (1 - BETA_1**turn))


@untimed
@given(st.lists(seeds, min_size=1, max_size=4), st.floats(1e-4, 1))
def test_it_is_pytorchs_adam_on_the_step_to_the_average(ids: list[int], rate: float) -> None:
    base, moments = model(0), {}
    reference = torch.nn.Parameter(torch.from_numpy(base["b"]).double())
    adam = torch.optim.Adam([reference], lr=rate, betas=(BETA_1, BETA_2))
    for turn, seed in enumerate(ids, 1):
        average = plus(base, model(seed), 1e-2)
        # Flower takes the bias of the turn after, and adds its epsilon to the root that is biased still.
        adam.param_groups[0].update(
            lr=rate * unbiased(turn + 1) / unbiased(turn), eps=ADAPTIVITY / np.sqrt(1 - BETA_2**turn)
        )
        reference.grad = torch.from_numpy(base["b"].astype(np.float64) - average["b"])
        base, moments = Adam(rate).step(base, average, moments, turn)
        adam.step()
        np.testing.assert_allclose(base["b"], reference.detach(), rtol=1e-3, atol=1e-3 * rate + 1e-6)
    assert {value.dtype for value in (*base.values(), *moments.values())} == {np.dtype(np.float32)}


def test_nothing_given_is_changed() -> None:
    base, average = model(0), model(1)
    for value in (base["b"], average["b"]):
        value.flags.writeable = False  # like the maps of files that the cloud gives
    _, moments = Adam(0.1).step(base, average, {}, 1)
    kept = {name: value.copy() for name, value in moments.items()}
    Adam(0.1).step(base, average, moments, 2)
    for name, value in moments.items():
        np.testing.assert_array_equal(value, kept[name])


@pytest.mark.parametrize("rate", [0.0, -1.0, float("nan")])
def test_a_rate_that_is_none(rate: float) -> None:
    with pytest.raises(ValueError, match="must be above 0"):
        Adam(rate)
