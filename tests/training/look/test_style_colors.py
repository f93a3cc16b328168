"""The colors of a style as numbers of a style code."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch

from training.look.chroma import ChromaOptions, move_chroma
from training.look.chroma_statistics import at_lightness, band_means
from training.look.heads import AUTO, GLOBAL_CODE, GlobalHeads, thumbnail, with_match
from training.look.network import LookNetwork
from training.look.opponent import to_opponent
from training.look.style_colors import STYLE_COLORS, style_colors, unpack


def photos(count: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    small = torch.rand(count, 3, 12, 12, generator=generator)
    return torch.nn.functional.interpolate(small, (96, 96), mode="bilinear")


def test_the_numbers_are_read_back() -> None:
    found = style_colors(photos(2))
    packed = found.pack()
    assert packed.shape == (2, STYLE_COLORS)
    again = unpack(packed)
    for one, other in zip([*found.luma, *found[1:]], [*again.luma, *again[1:]], strict=True):
        assert torch.equal(one, other)


def test_the_covariance_is_that_of_the_deviations_from_the_trusted_bands() -> None:
    style = photos(1, seed=3)
    pixels, found = to_opponent(style.flatten(2)), style_colors(style)
    for trust in (0.0, 0.4, 1.0):
        bands = found.mean + trust * (band_means(pixels) - found.mean)
        apart = pixels[:, 1:] - at_lightness(bands, pixels[:, 0])
        expected = apart @ apart.transpose(1, 2) / apart.shape[2]
        covariance = found.covariance(torch.full((1, 1, 1), trust))
        noise = covariance[0, 0, 0] - expected[0, 0, 0]  # on the diagonal only
        torch.testing.assert_close(covariance - noise * torch.eye(2), expected, atol=1e-6, rtol=1e-3)


def test_chroma_of_the_style_itself_stays() -> None:
    style = photos(1, seed=5)
    pixels = to_opponent(style.flatten(2))
    moved = move_chroma(pixels, pixels, style_colors(style), ChromaOptions())
    assert float((moved - pixels[:, 1:]).abs().mean()) < 0.01


@pytest.mark.parametrize("size", [(96, 96), (240, 325), (97, 411), (480, 640)])
def test_a_thumbnail_is_the_average_by_area(size: tuple[int, int]) -> None:
    photo = torch.rand(1, 3, *size, generator=torch.Generator().manual_seed(1))
    expected = cv2.resize(photo[0].permute(1, 2, 0).numpy(), (96, 96), interpolation=cv2.INTER_AREA)
    np.testing.assert_allclose(thumbnail(photo)[0].permute(1, 2, 0).numpy(), expected, atol=2e-6)


def test_a_tiny_photo_has_a_thumbnail() -> None:
    assert torch.equal(thumbnail(torch.full((1, 3, 1, 2), 0.5)), torch.full((1, 3, 96, 96), 0.5))


def test_a_style_code_begins_with_the_match() -> None:
    torch.manual_seed(0)
    heads = GlobalHeads(LookNetwork()).eval()
    content, style = photos(1, seed=1), photos(1, seed=2)
    with torch.no_grad():
        code = heads.encode_style(style)
        assert code.shape == (1, GLOBAL_CODE)
        assert float(code[0, 0]) == AUTO
        for match in (0.0, 0.3, 1.0):
            asked = heads.decide(content, with_match(code, match))
            assert float(asked.match) == torch.tensor(match).item()
            torch.testing.assert_close(asked.lut, heads(content, style, match).lut)
