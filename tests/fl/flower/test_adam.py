"""FedAdam: compare Flower's step with PyTorch's Adam, including its moments."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from fl.flower.adam import ADAPTIVITY, BETA_1, BETA_2, ServerAdam
from tests.fl.test_average import model, plus, seeds, untimed

pytestmark = pytest.mark.usefixtures("identity")


def unbiased(step: int) -> float:
    return float(np.sqrt(1 - BETA_2**step) / (1 - BETA_1**step))


@untimed
@given(st.lists(seeds, min_size=1, max_size=4), st.floats(1e-4, 1))
def test_a_step_equals_pytorchs_adam_with_the_average_as_gradient(ids: list[int], rate: float) -> None:
    base, moments = model(0), {}
    reference = torch.nn.Parameter(torch.from_numpy(base["b"]).double())
    adam = torch.optim.Adam([reference], lr=rate, betas=(BETA_1, BETA_2))
    for step, seed in enumerate(ids, 1):
        average = plus(base, model(seed), 1e-2)
        # Flower corrects the bias of the next step, and adds epsilon before the correction.
        adam.param_groups[0].update(
            lr=rate * unbiased(step + 1) / unbiased(step), eps=ADAPTIVITY / np.sqrt(1 - BETA_2**step)
        )
        reference.grad = torch.from_numpy(base["b"].astype(np.float64) - average["b"])
        base, moments = ServerAdam(rate).step(base, average, moments, step)
        adam.step()
        np.testing.assert_allclose(base["b"], reference.detach(), rtol=1e-3, atol=1e-3 * rate + 1e-6)
    assert {value.dtype for value in (*base.values(), *moments.values())} == {np.dtype(np.float32)}


def test_arguments_are_not_modified() -> None:
    base, average = model(0), model(1)
    for value in (base["b"], average["b"]):
        value.flags.writeable = False  # like memory-mapped files
    _, moments = ServerAdam(0.1).step(base, average, {}, 1)
    kept = {name: value.copy() for name, value in moments.items()}
    ServerAdam(0.1).step(base, average, moments, 2)
    for name, value in moments.items():
        np.testing.assert_array_equal(value, kept[name])


@pytest.mark.parametrize("rate", [0.0, -1.0, float("nan")])
def test_a_learning_rate_must_be_positive(rate: float) -> None:
    with pytest.raises(ValueError, match="must be positive"):
        ServerAdam(rate)
