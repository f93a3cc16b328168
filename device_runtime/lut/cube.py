"""The global part of a style as a 3D LUT: what becomes of each colour, wherever it stands in the picture.

A style on a shot is a grid of affine colour maps a frame. A LUT knows no places, so each of its nodes takes
the mean of what the shot's places make of about that colour. Far from every colour of the shot there is the
one affine map that fits all of them best, so that the LUT stays smooth and usable on the shot's neighbours.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from pathlib import Path
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from device_runtime.interpolation.affine_map import AffineMap
from device_runtime.media.atomic_file import OutputError, check_output, pending_file

SIZE: Final = 33
REACH: Final = 0.04  # of the unit range: how far a colour of the shot speaks for its neighbours
PRIOR: Final = 0.5  # places; fewer than these near a node, and it follows the affine map
RIDGE: Final = 1e-3  # a variance in the unit range: a shot of one colour says nothing about the others

Lut = NDArray[np.float32]
"""float32 (n, n, n, 3), RGB in the unit range at [blue, green, red]."""


def fit_lut(keys: Sequence[tuple[NDArray[np.uint8], AffineMap]], size: int = SIZE) -> Lut:
    """Fit a LUT to key frames and their affine maps.

    Args:
        keys: uint8 RGB (H, W, 3) each, and its map, float32 (gh, gw, 3, 4). At least one.
        size: Nodes each way, at least 2.

    Returns:
        float32 (size, size, size, 3), 0..1.
    """
    places = [_places(*key) for key in keys]
    before, after = (np.concatenate(part) for part in zip(*places, strict=True))
    usual = np.asarray(np.mean([affine_map.mean((0, 1)) for _, affine_map in keys], 0, np.float64))
    colour_map = _affine(before, after, usual)
    axis = np.linspace(0, 1, size)
    nodes = np.stack(np.meshgrid(axis, axis, axis, indexing="ij")[::-1], -1)
    residual = after - _applied(colour_map, before)
    weighed = _splat(before, np.column_stack([residual, np.ones(len(before))]), size)
    local = weighed[..., :3] / (weighed[..., 3:] + PRIOR)
    return np.clip(_applied(colour_map, nodes) + local, 0, 1).astype(np.float32)


def write_cube(target: Path, lut: Lut, title: str) -> None:
    """Write a LUT as a .cube file (Adobe's format 1.0), as ffmpeg's ``lut3d`` and grading tools read it.

    Args:
        target: Where it goes; replaced only when the new file is whole.
        lut: float32 (n, n, n, 3).
        title: One line.

    Raises:
        OutputError: The suffix is another one, or the file cannot be written.
    """
    resolved = check_cube_output(target)
    title = " ".join(title.replace('"', "'").split())
    rows = "\n".join("{:.6f} {:.6f} {:.6f}".format(*row) for row in lut.reshape(-1, 3).tolist())
    try:
        with pending_file(resolved) as pending:
            pending.write_text(f'TITLE "{title}"\nLUT_3D_SIZE {len(lut)}\n{rows}\n', encoding="utf-8")
    except OSError as error:
        raise OutputError(
            f"{target} cannot be written ({error.strerror})", "Free some space or choose another output"
        ) from error


def check_cube_output(target: Path, *inputs: Path) -> Path:
    """Say early whether a LUT can be written there; see `check_output`.

    Raises:
        OutputError: The suffix is not .cube, or as `check_output`.
    """
    if target.suffix.lower() != ".cube":
        raise OutputError(f"{target.name} has no suffix of a LUT", "Use .cube")
    return check_output(target, *inputs)


def _places(rgb: NDArray[np.uint8], affine_map: AffineMap) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the mean colour of each cell of a map and what it becomes, float64 (cells, 3) each."""
    rows, columns = affine_map.shape[:2]
    small = cv2.resize(rgb, (columns, rows), interpolation=cv2.INTER_AREA)
    before = small.reshape(-1, 3) / 255
    maps = affine_map.reshape(-1, 3, 4).astype(np.float64)
    after = np.einsum("pij,pj->pi", maps[..., :3], before) + maps[..., 3]
    return before, np.clip(after, 0, 1)


def _affine(
    before: NDArray[np.float64], after: NDArray[np.float64], usual: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Fit one map, float64 (3, 4), by least squares, its gains held towards those of the usual map."""
    mean_before, mean_after = before.mean(0), after.mean(0)
    centred = before - mean_before
    rest = after - mean_after - centred @ usual[:, :3].T
    covariance = centred.T @ centred / len(before) + RIDGE * np.eye(3)
    gains = usual[:, :3] + np.linalg.solve(covariance, centred.T @ rest / len(before)).T
    return np.column_stack([gains, mean_after - gains @ mean_before])


def _applied(colour_map: NDArray[np.float64], rgb: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(rgb @ colour_map[:, :3].T + colour_map[:, 3], np.float64)


def _splat(rgb: NDArray[np.float64], values: NDArray[np.float64], size: int) -> NDArray[np.float64]:
    """Spread values over a cube of colours: to the eight nodes around each colour, then as a Gaussian."""
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
