from __future__ import annotations

import cv2
import numpy as np
import torch

from training.affine import apply_map, fit_map
from training.local_linear import Gain


def constant(gain: torch.Tensor) -> Gain:
    """Return a gain function that is constant over all colors (3×3)."""
    return lambda colors: gain[None, :, :, None, None].expand(colors.shape[0], 3, 3, *colors.shape[2:])


def window(cells: int, cell: int, at: int) -> np.ndarray:
    """Return the weight of each pixel along an axis in the 1-2-1 window of cell `at`, edges replicated."""
    weights = np.zeros(cells * cell)
    for offset, share in ((-1, 0.25), (0, 0.5), (1, 0.25)):
        index = min(max(at + offset, 0), cells - 1)
        weights[index * cell : (index + 1) * cell] += share / cell
    return weights


def test_the_fit_matches_least_squares_in_numpy(coffee: torch.Tensor, cat: torch.Tensor) -> None:
    cell, rows, columns, ridge = 8, 6, 7, 1e-3
    x, y = (photo[:, :, : rows * cell, : columns * cell].double() for photo in (coffee, cat))
    prior = torch.eye(3).double() + 0.1
    got = fit_map(x, y, constant(prior), cell, ridge)[0].numpy().reshape(3, 4, rows, columns)
    fitted = np.empty_like(got)
    for i in range(rows):
        for j in range(columns):
            w = np.outer(window(rows, cell, i), window(columns, cell, j)).ravel()
            colors, target = x[0].flatten(1).numpy().T, y[0].flatten(1).numpy().T
            unexplained = target - colors @ prior.numpy().T
            # Weighted ridge regression as least squares: rows times sqrt(w), the ridge as three more rows.
            centered = colors - w @ colors
            design = np.vstack([centered * np.sqrt(w)[:, None], np.sqrt(ridge) * np.eye(3)])
            wanted = np.vstack([(unexplained - w @ unexplained) * np.sqrt(w)[:, None], np.zeros((3, 3))])
            gain = prior.numpy() + np.linalg.lstsq(design, wanted, rcond=None)[0].T
            fitted[:, :3, i, j], fitted[:, 3, i, j] = gain, w @ target - gain @ (w @ colors)
    padded = np.pad(fitted, ((0, 0), (0, 0), (1, 1), (1, 1)), mode="edge")
    down = (padded[:, :, :-2] + 2 * padded[:, :, 1:-1] + padded[:, :, 2:]) / 4
    blurred = (down[..., :-2] + 2 * down[..., 1:-1] + down[..., 2:]) / 4
    np.testing.assert_allclose(got, blurred, atol=1e-8)


def test_an_affine_change_is_recovered_with_any_prior(coffee: torch.Tensor) -> None:
    x = coffee[:, :, :96, :128].double()
    wanted = torch.tensor([[0.5, 0.3, 0, 0.1], [-0.1, 0.9, 0.1, 0], [0, 0.2, 0.4, 0.2]]).double()
    y = torch.einsum("ij,njhw->nihw", wanted[:, :3], x) + wanted[:, 3, None, None]
    for start in (torch.eye(3).double(), wanted[:, :3]):
        got = fit_map(x, y, constant(start), 8, 1e-12)
        styled = apply_map(got, x)
        torch.testing.assert_close(styled, y.clamp(0, 1), atol=1e-4, rtol=0)


def test_a_flat_area_keeps_the_global_gain() -> None:
    x, y = torch.full((1, 3, 16, 16), 0.4), torch.full((1, 3, 16, 16), 0.7)
    got = fit_map(x, y, constant(2 * torch.eye(3)), 8, 2e-3).view(3, 4, 2, 2)
    expected = 2 * torch.eye(3)[:, :, None, None].expand(3, 3, 2, 2)
    torch.testing.assert_close(got[:, :3], expected, atol=1e-4, rtol=0)
    torch.testing.assert_close(got[:, 3], torch.full((3, 2, 2), 0.7 - 0.8), atol=1e-4, rtol=0)


def test_detail_scales_the_contrast_around_each_mean(coffee: torch.Tensor) -> None:
    x = coffee[:, :, :64, :64].double()
    plain = fit_map(x, x, constant(torch.eye(3).double()), 8, 1e-3)
    crisp = fit_map(x, x, constant(torch.eye(3).double()), 8, 1e-3, torch.tensor([1.5]).double())
    torch.testing.assert_close(crisp.view(3, 4, 8, 8)[:, :3], 1.5 * plain.view(3, 4, 8, 8)[:, :3])
    level = [apply_map(m, x).mean(dim=(2, 3)) for m in (plain, crisp)]
    torch.testing.assert_close(*level, atol=0.01, rtol=0)


def test_apply_matches_opencv(coffee: torch.Tensor) -> None:
    frame = coffee[:, :, :101, :149]
    affine_map = torch.randn(1, 12, 5, 7) * 0.3
    dense = cv2.resize(affine_map[0].permute(1, 2, 0).numpy(), (149, 101), interpolation=cv2.INTER_LINEAR)
    dense = dense.reshape(101, 149, 3, 4)
    rgb = frame[0].permute(1, 2, 0).numpy()
    expected = np.clip(np.einsum("hwij,hwj->hwi", dense[..., :3], rgb) + dense[..., 3], 0, 1)
    np.testing.assert_allclose(apply_map(affine_map, frame)[0].permute(1, 2, 0), expected, atol=1e-5)
