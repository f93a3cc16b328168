"""The bilateral grid: what it holds, and its trilinear read against an independent one."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from mvstylizer.stylizer import GUIDE
from training.global_mapping import GlobalMapping
from training.grid import apply_grid, fit_grid, luma
from training.look.lut import apply_lut, identity_lut

CELL, BINS, RIDGE = 32, 6, 1e-3


def picture(seed: int, height: int = 128, width: int = 192) -> Tensor:
    """Return blurred noise over a gradient, 1×3×height×width: smooth areas, edges and many colors."""
    generator = torch.Generator().manual_seed(seed)
    noise = torch.rand(1, 3, height // 8, width // 8, generator=generator)
    smooth = torch.nn.functional.interpolate(noise, (height, width), mode="bicubic")
    ramp = torch.linspace(0, 1, width).view(1, 1, 1, -1)
    edge = (torch.arange(height) > height // 2).view(1, 1, -1, 1) * 0.3
    return (0.5 * smooth + 0.4 * ramp + edge - 0.1).clamp(0, 1)


def grading(seed: int) -> GlobalMapping:
    """Return a mapping with a tone curve and a tint, as a LUT."""
    generator = torch.Generator().manual_seed(seed)
    lut = identity_lut(17)[None]
    gamma = 0.6 + torch.rand(1, 3, 1, 1, 1, generator=generator)
    matrix = torch.eye(3) + 0.15 * torch.randn(3, 3, generator=generator)
    graded = torch.einsum("ij,njzyx->nizyx", matrix, lut.pow(gamma)).clamp(0, 1)
    return GlobalMapping(graded, torch.ones(1, 1))


def fitted(content: Tensor, stylized: Tensor, mapping: GlobalMapping) -> Tensor:
    return fit_grid(content, stylized, mapping, mapping.gain, CELL, BINS, RIDGE)


def read(grid: NDArray[np.float64], frame: NDArray[np.float64]) -> NDArray[np.float64]:
    """Apply a grid (bins×12×rows×columns) to a frame (H×W×3) pixel by pixel, with explicit indices."""
    bins, _, rows, columns = grid.shape
    height, width, _ = frame.shape
    out = np.zeros_like(frame)
    for y, x in product(range(height), range(width)):
        rgb = frame[y, x]
        where = ((y + 0.5) * rows / height - 0.5, (x + 0.5) * columns / width - 0.5, rgb @ GUIDE * (bins - 1))
        transform = np.zeros(12)
        for corner in product((0, 1), repeat=3):
            low = [int(np.floor(place)) for place in where]
            weight = np.prod([1 - abs(p - (lo + c)) for p, lo, c in zip(where, low, corner, strict=True)])
            row, column, level = (
                min(max(lo + c, 0), size - 1)
                for lo, c, size in zip(low, corner, (rows, columns, bins), strict=True)
            )
            transform += weight * grid[level, :, row, column]
        out[y, x] = transform.reshape(3, 4) @ [*rgb, 1]
    return np.clip(out, 0, 1)


@pytest.mark.parametrize("bins", [1, 2, 6])
def test_the_grid_is_read_trilinearly(bins: int) -> None:
    generator = torch.Generator().manual_seed(bins)
    grid = torch.randn(1, bins, 12, 3, 4, generator=generator, dtype=torch.float64) / 3
    frame = torch.rand(1, 3, 20, 29, generator=generator, dtype=torch.float64)
    expected = read(grid[0].numpy(), frame[0].permute(1, 2, 0).numpy())
    np.testing.assert_allclose(apply_grid(grid, frame)[0].permute(1, 2, 0).numpy(), expected, atol=1e-9)


@pytest.mark.parametrize("seed", range(3))
def test_the_grid_holds_a_grading(seed: int) -> None:
    content, mapping = picture(seed), grading(seed)
    truth = mapping(content)
    error = apply_grid(fitted(content, truth, mapping), content) - truth
    assert -10 * float(error.square().mean().log10()) > 40  # dB


def test_the_grid_holds_what_depends_on_the_place() -> None:
    content, mapping = picture(5), GlobalMapping(identity_lut(17)[None], torch.ones(1, 1))
    light = 1 - 0.5 * torch.linspace(0, 1, 192).view(1, 1, 1, -1)
    error = apply_grid(fitted(content, content * light, mapping), content) - content * light
    assert -10 * float(error.square().mean().log10()) > 35


def test_the_identity_stays_the_identity() -> None:
    content = picture(3)
    mapping = GlobalMapping(identity_lut(17)[None], torch.zeros(1, 1))
    assert float((apply_grid(fitted(content, content, mapping), content) - content).abs().max()) < 1e-4


@pytest.mark.parametrize("level", [0.0, 0.37, 1.0])
def test_a_flat_picture_keeps_the_gain_of_the_global_mapping(level: float) -> None:
    content = torch.full((1, 3, 64, 64), level)
    mapping = grading(1)
    grid = fitted(content, mapping(content), mapping)
    assert torch.isfinite(grid).all()
    assert float(grid.abs().max()) < 10
    other = picture(9, 64, 64)  # colors that the fit has not seen
    error = (apply_grid(grid, other) - mapping(other)).abs().mean()
    assert float(error) < 0.1


def test_pictures_of_a_batch_do_not_mix() -> None:
    contents, mappings = [picture(1), picture(2)], [grading(1), grading(2)]
    both = GlobalMapping(torch.cat([m.lut for m in mappings]), torch.ones(2, 1))
    together = torch.cat(contents)
    grid = fitted(together, both(together), both)
    for index in range(2):
        alone = fitted(contents[index], mappings[index](contents[index]), mappings[index])
        torch.testing.assert_close(grid[index : index + 1], alone, atol=1e-4, rtol=1e-4)


def test_luma_is_that_of_bt_709() -> None:
    colors = torch.tensor([[1.0, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 1]]).view(4, 3, 1, 1)
    torch.testing.assert_close(luma(colors).flatten(), torch.tensor([0.2126, 0.7152, 0.0722, 1.0]))


def test_the_gain_is_the_slope_of_the_mapping() -> None:
    mapping, colors = grading(4), 0.3 + 0.4 * picture(4, 16, 16)
    step = torch.tensor([0.01, -0.02, 0.015]).view(1, 3, 1, 1)
    linear = mapping(colors) + torch.einsum("nijhw,njhw->nihw", mapping.gain(colors), step.expand_as(colors))
    assert float((mapping(colors + step) - linear).abs().max()) < 0.004
    assert torch.equal(apply_lut(mapping.lut, colors), mapping(colors))
