from __future__ import annotations

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from training.grading import (
    PARAMETERS,
    SEGMENTS,
    Grading,
    apply_grade,
    as_grade,
    curve_slope,
    tone_curve,
    tones,
)

IDENTITY = torch.eye(3, 4)[None]


def curve_by_numpy(slopes: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Return a polyline through the knots, with slope 1 outside [0, 1]."""
    knots = np.linspace(0, 1, SEGMENTS + 1)
    heights = np.concatenate([[0], np.cumsum(slopes) / SEGMENTS])
    inside = np.interp(values, knots, heights)
    return inside + np.minimum(values, 0) + np.maximum(values - 1, 0)


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 10**6))
def test_the_tone_curve_matches_numpy_and_rises(seed: int) -> None:
    torch.manual_seed(seed)
    slopes = as_grade(3 * torch.randn(1, PARAMETERS), IDENTITY).slopes
    values = torch.sort(3 * torch.rand(1, 3, 1, 200) - 1, dim=3).values
    got = tone_curve(slopes, values)
    for channel in range(3):
        expected = curve_by_numpy(slopes[0, channel].numpy(), values[0, channel, 0].numpy())
        np.testing.assert_allclose(got[0, channel, 0], expected, atol=1e-5)
    assert (got.diff(dim=3) >= -1e-6).all(), "a falling curve would solarize"


def test_zero_parameters_are_the_transport_alone(coffee: torch.Tensor) -> None:
    transport = torch.tensor([[0.8, 0.1, 0, 0.02], [0, 1.1, 0, -0.1], [0.1, 0, 0.7, 0.1]])[None]
    got = apply_grade(as_grade(torch.zeros(1, PARAMETERS), transport), coffee)
    expected = torch.einsum("ij,njhw->nihw", transport[0, :, :3], coffee) + transport[0, :, 3, None, None]
    torch.testing.assert_close(got, expected, atol=1e-5, rtol=1e-5)


def test_slope_is_the_chord() -> None:
    slopes = torch.rand(1, 3, SEGMENTS) + 0.5
    middle = (torch.arange(SEGMENTS) + 0.5) / SEGMENTS
    got = curve_slope(slopes, middle.expand(1, 3, SEGMENTS)[..., None])
    torch.testing.assert_close(got[..., 0], slopes)


def test_tones_are_a_histogram_between_knots(cat: torch.Tensor) -> None:
    shares = tones(cat).view(3, SEGMENTS + 1)
    torch.testing.assert_close(shares.sum(dim=1), torch.ones(3))
    mean = (shares * torch.linspace(0, 1, SEGMENTS + 1)).sum(dim=1)
    torch.testing.assert_close(mean, cat.mean(dim=(0, 2, 3)))


def test_each_round_encodes_the_previous_rounds_picture(coffee: torch.Tensor) -> None:
    torch.manual_seed(0)
    grading = Grading((2,), rounds=3)
    torch.nn.init.normal_(grading.correct.weight, std=0.05)
    seen: list[torch.Tensor] = []

    def look(image: torch.Tensor) -> list[tuple[torch.Tensor, torch.Tensor]]:
        seen.append(image)
        return [(image.mean(dim=(2, 3))[:, :2], image.std(dim=(2, 3))[:, :2])]

    style = [(torch.tensor([[0.2, 0.9]]), torch.tensor([[0.1, 0.3]]))]
    grade = grading(coffee, IDENTITY, tones(1 - coffee), style, look)
    assert len(seen) == 3
    torch.testing.assert_close(seen[0], coffee, atol=1e-6, rtol=0)
    assert (seen[1] - seen[0]).abs().mean() > 1e-3
    grade.affine.sum().backward()
    assert grading.correct.weight.grad is not None
