"""Fit a 3D LUT to the global part of a style: the mapping of each color, independent of its position.

The style of a shot is a bilateral grid of affine color transforms per frame. A LUT has no positions, so each
of its nodes takes the mean of what the shot's maps do to similar colors. Far from every color of the shot, it
follows the single affine transform that fits all of them best, so that the LUT stays smooth and usable on
neighboring shots.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from pathlib import Path
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from device_runtime.interpolation.grid import applied, sliced
from device_runtime.media.atomic_file import OutputError, check_output, pending_file, write_hint
from mvstylizer.errors import printable
from mvstylizer.stylizer import BilateralGrid

SIZE: Final = 33
REACH: Final = 0.04  # of the unit range: standard deviation of a color's influence
PLACES: Final = 2304  # pixels to which a key frame is reduced
PRIOR: Final = 0.5  # of those pixels; nodes with less data nearby follow the affine transform
RIDGE: Final = 1e-3  # variance in the unit range; regularizes shots of a single color

Lut = NDArray[np.float32]
"""float32 (n, n, n, 3), RGB in the unit range at [blue, green, red]."""


def fit_lut(keys: Sequence[tuple[NDArray[np.uint8], BilateralGrid]], size: int = SIZE) -> Lut:
    """Fit a LUT to key frames and their maps.

    Args:
        keys: Key frames, uint8 RGB (H, W, 3), and their maps, float32 (rows, columns, bins, 3,
            4). At least one.
        size: Nodes per axis, at least 2.

    Returns:
        float32 (size, size, size, 3), 0..1.
    """
    places = [_places(*key) for key in keys]
    before, after, transforms = (np.concatenate(part) for part in zip(*places, strict=True))
    usual = transforms.mean(0)
    color_map = _affine(before, after, usual)
    axis = np.linspace(0, 1, size)
    nodes = np.stack(np.meshgrid(axis, axis, axis, indexing="ij")[::-1], -1)
    residual = after - _mapped(color_map, before)
    weighed = _splat(before, np.column_stack([residual, np.ones(len(before))]), size)
    local = weighed[..., :3] / (weighed[..., 3:] + PRIOR)
    return np.clip(_mapped(color_map, nodes) + local, 0, 1).astype(np.float32)


def write_cube(target: Path, lut: Lut, title: str) -> None:
    """Write a LUT as a .cube file (Adobe's format 1.0) for ffmpeg's ``lut3d`` and grading tools.

    Args:
        target: The file; replaced only by a complete one.
        lut: float32 (n, n, n, 3).
        title: One line.

    Raises:
        OutputError: The suffix is not .cube, or the file cannot be written.
    """
    resolved = check_cube_output(target)
    title = printable(title.replace('"', "'"))
    rows = "\n".join("{:.6f} {:.6f} {:.6f}".format(*row) for row in lut.reshape(-1, 3).tolist())
    try:
        with pending_file(resolved) as pending:
            pending.write_text(f'TITLE "{title}"\nLUT_3D_SIZE {len(lut)}\n{rows}\n', encoding="utf-8")
    except OSError as error:
        raise OutputError(f"{target} cannot be written ({error.strerror})", write_hint(error)) from error


def check_cube_output(target: Path, *inputs: Path) -> Path:
    """Check early whether a LUT can be written; see `check_output`.

    Raises:
        OutputError: The suffix is not .cube, or as raised by `check_output`.
    """
    if target.suffix.lower() != ".cube":
        raise OutputError(f"{target.name} does not have the suffix .cube", "Use .cube")
    return check_output(target, *inputs)


def _places(
    rgb: NDArray[np.uint8], grid: BilateralGrid
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Return colors before and after the map, float64 (n, 3) each, and its transforms, float64 (n, 3, 4)."""
    scale = min(1.0, (PLACES / (rgb.shape[0] * rgb.shape[1])) ** 0.5)
    rows, columns = (max(1, round(scale * side)) for side in rgb.shape[:2])
    unit = cv2.resize(rgb, (columns, rows), interpolation=cv2.INTER_AREA).astype(np.float32) / np.float32(255)
    transforms = sliced(grid, unit)
    after = np.clip(applied(transforms, unit), 0, 1)
    return (
        unit.reshape(-1, 3).astype(np.float64),
        after.reshape(-1, 3).astype(np.float64),
        transforms.reshape(-1, 3, 4).astype(np.float64),
    )


def _affine(
    before: NDArray[np.float64], after: NDArray[np.float64], usual: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Fit one transform, float64 (3, 4), by least squares, its gains regularized towards the mean's."""
    mean_before, mean_after = before.mean(0), after.mean(0)
    centerd = before - mean_before
    rest = after - mean_after - centerd @ usual[:, :3].T
    covariance = centerd.T @ centerd / len(before) + RIDGE * np.eye(3)
    gains = usual[:, :3] + np.linalg.solve(covariance, centerd.T @ rest / len(before)).T
    return np.column_stack([gains, mean_after - gains @ mean_before])


def _mapped(color_map: NDArray[np.float64], rgb: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(rgb @ color_map[:, :3].T + color_map[:, 3], np.float64)


def _splat(rgb: NDArray[np.float64], values: NDArray[np.float64], size: int) -> NDArray[np.float64]:
    """Splat values into a color cube: to the eight nodes around each color, then blurred by a Gaussian."""
    place = np.clip(rgb[:, ::-1], 0, 1) * (size - 1)
    low = np.minimum(place.astype(int), size - 2)
    part = place - low
    cube = np.zeros((size, size, size, values.shape[1]))
    for corner in product((0, 1), repeat=3):
        weight = np.prod(np.where(corner, part, 1 - part), axis=1)
        np.add.at(cube, tuple((low + corner).T), weight[:, None] * values)
    axis = np.linspace(0, 1, size)
    spread = np.exp(-0.5 * ((axis[:, None] - axis) / REACH) ** 2)
    blurred = np.einsum("bgrv,xb,yg,zr->xyzv", cube, spread, spread, spread, optimize=True)
    return np.asarray(blurred, np.float64)
