from __future__ import annotations

import cv2
import numpy as np
import torch

from training.affine import apply_map, fit_map

IDENTITY = torch.eye(3, 4)[None]


def window(cells: int, cell: int, at: int) -> np.ndarray:
    """Weight of each pixel along an axis in the 1-2-1 window of the cell `at`, edges replicated."""
    weights = np.zeros(cells * cell)
    for offset, share in ((-1, 0.25), (0, 0.5), (1, 0.25)):
        index = min(max(at + offset, 0), cells - 1)
        weights[index * cell : (index + 1) * cell] += share / cell
    return weights


def test_fit_against_numpy_least_squares(coffee: torch.Tensor, cat: torch.Tensor) -> None:
    cell, rows, columns, ridge = 8, 6, 7, 1e-3
    x, y = (photo[:, :, : rows * cell, : columns * cell].double() for photo in (coffee, cat))
    got = fit_map(x, y, IDENTITY.double(), cell, ridge)[0].numpy().reshape(3, 4, rows, columns)
    fitted = np.empty_like(got)
    for i in range(rows):
        for j in range(columns):
            w = np.outer(window(rows, cell, i), window(columns, cell, j)).ravel()
            colours, target = x[0].flatten(1).numpy().T, (y - x)[0].flatten(1).numpy().T
            # Weighted ridge regression as an ordinary one: rows times sqrt(w), the ridge as three more rows.
            centred = colours - w @ colours
            design = np.vstack([centred * np.sqrt(w)[:, None], np.sqrt(ridge) * np.eye(3)])
            wanted = np.vstack([(target - w @ target) * np.sqrt(w)[:, None], np.zeros((3, 3))])
            gain = np.linalg.lstsq(design, wanted, rcond=None)[0].T
            fitted[:, :3, i, j], fitted[:, 3, i, j] = gain, w @ target - gain @ (w @ colours)
    padded = np.pad(fitted, ((0, 0), (0, 0), (1, 1), (1, 1)), mode="edge")
    down = (padded[:, :, :-2] + 2 * padded[:, :, 1:-1] + padded[:, :, 2:]) / 4
    blurred = (down[..., :-2] + 2 * down[..., 1:-1] + down[..., 2:]) / 4
    blurred[:, :3] += np.eye(3)[:, :, None, None]
    np.testing.assert_allclose(got, blurred, atol=1e-8)


def test_an_affine_change_is_recovered_whatever_the_start(coffee: torch.Tensor) -> None:
    x = coffee[:, :, :96, :128].double()
    wanted = torch.tensor([[0.5, 0.3, 0, 0.1], [-0.1, 0.9, 0.1, 0], [0, 0.2, 0.4, 0.2]]).double()
    y = torch.einsum("ij,njhw->nihw", wanted[:, :3], x) + wanted[:, 3, None, None]
    for start in (IDENTITY.double(), wanted[None]):
        got = fit_map(x, y, start, 8, 1e-12)
        styled = apply_map(got, x)
        torch.testing.assert_close(styled, y.clamp(0, 1), atol=1e-4, rtol=0)


def test_a_flat_area_keeps_the_global_gain() -> None:
    x, y = torch.full((1, 3, 16, 16), 0.4), torch.full((1, 3, 16, 16), 0.7)
    colour_map = torch.cat([2 * torch.eye(3), torch.zeros(3, 1)], dim=1)[None]
    got = fit_map(x, y, colour_map, 8, 2e-3).view(3, 4, 2, 2)
    expected = 2 * torch.eye(3)[:, :, None, None].expand(3, 3, 2, 2)
    torch.testing.assert_close(got[:, :3], expected, atol=1e-4, rtol=0)
    torch.testing.assert_close(got[:, 3], torch.full((3, 2, 2), 0.7 - 0.8), atol=1e-4, rtol=0)


def test_apply_against_opencv(coffee: torch.Tensor) -> None:
    frame = coffee[:, :, :101, :149]
    affine_map = torch.randn(1, 12, 5, 7) * 0.3
    dense = cv2.resize(affine_map[0].permute(1, 2, 0).numpy(), (149, 101), interpolation=cv2.INTER_LINEAR)
    dense = dense.reshape(101, 149, 3, 4)
    rgb = frame[0].permute(1, 2, 0).numpy()
    expected = np.clip(np.einsum("hwij,hwj->hwi", dense[..., :3], rgb) + dense[..., 3], 0, 1)
    np.testing.assert_allclose(apply_map(affine_map, frame)[0].permute(1, 2, 0), expected, atol=1e-5)
