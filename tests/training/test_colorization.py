from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from training.colorization import TOKENS, Colorization, attend, channel_moments, colorize, style_tokens


def eq2_as_printed(content: torch.Tensor, style: torch.Tensor) -> torch.Tensor:
    """Return z_k = sum over m of (y_m - x_k), C×H×W each, with the loop of Eq. 2."""
    x, y = content.flatten(1), style.flatten(1)
    z = torch.zeros_like(x)
    for k in range(x.shape[1]):
        for m in range(y.shape[1]):
            z[:, k] += y[:, m] - x[:, k]
    return z.view_as(content)


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 5), st.integers(1, 4), st.integers(1, 4), st.integers(0, 10**6))
def test_literal_is_equation_2(channels: int, height: int, width: int, seed: int) -> None:
    torch.manual_seed(seed)
    content, style = torch.randn(2, channels, height, width)
    mean, std = channel_moments(style[None])
    expected = eq2_as_printed(content, style)
    torch.testing.assert_close(
        colorize(content[None], mean, std, "literal")[0], expected, atol=1e-4, rtol=1e-4
    )
    torch.testing.assert_close(
        colorize(content[None], mean, std, "mean")[0], expected / (height * width), atol=1e-5, rtol=1e-4
    )


def test_equation_2_loses_the_absolute_level() -> None:
    content, style = torch.randn(2, 1, 4, 6, 6)
    shift = torch.randn(1, 4, 1, 1)
    plain = colorize(content, *channel_moments(style), "mean")
    shifted = colorize(content + shift, *channel_moments(style + shift), "mean")
    torch.testing.assert_close(plain, shifted, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("mode", ["residual", "moment"])
def test_the_identity_when_style_is_content(mode: str) -> None:
    content = torch.randn(2, 8, 12, 10)
    out = Colorization(mode)(content, *channel_moments(content))  # type: ignore[arg-type]
    torch.testing.assert_close(out, content, atol=5e-3, rtol=5e-3)


def test_residual_strength_scales_the_shift() -> None:
    content, style = torch.randn(1, 3, 5, 5), torch.randn(1, 3, 5, 5) + 2
    moments = channel_moments(style)
    half = colorize(content, *moments, "residual", strength=0.5)
    full = colorize(content, *moments, "residual")
    torch.testing.assert_close(half, (content + full) / 2)


def test_moment_gives_the_styles_mean_and_deviation() -> None:
    content, style = 3 * torch.randn(1, 6, 20, 20) - 1, torch.rand(1, 6, 9, 13)
    out = colorize(content, *channel_moments(style), "moment")
    flat, expected = out.flatten(2).numpy(), style.flatten(2).numpy()
    assert abs(flat.mean(axis=2) - expected.mean(axis=2)).max() < 1e-5
    assert abs(flat.std(axis=2) - expected.std(axis=2)).max() < 1e-3


def test_attention_with_equal_weights_is_equation_2() -> None:
    content, style = torch.randn(2, 5, 7, 6), torch.randn(2, 5, 16, 24)
    expected = colorize(content, *channel_moments(style), "mean")
    got = attend(content, style_tokens(style), temperature=1e9)
    torch.testing.assert_close(got, expected, atol=1e-4, rtol=1e-4)


def test_attention_transfers_between_similar_positions() -> None:
    """With two kinds of positions in content and style, each takes the color of its own kind."""
    kinds = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    content = kinds.repeat_interleave(8, dim=0).T.view(1, 2, 4, 4)
    style = (2 * kinds).repeat_interleave(TOKENS // 2, dim=0).T.view(1, 2, 8, 8)
    out = content + attend(content, style_tokens(style), temperature=0.01)
    torch.testing.assert_close(out, 2 * content)


def test_unknown_mode_is_refused() -> None:
    with pytest.raises(ValueError, match="adain"):
        Colorization("adain")  # type: ignore[arg-type]
