"""Inputs of the kernels for accelerators, which take whole frames of one size as float32."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]


def warp_accel_inputs(key: NDArray[np.uint8], flow: Floats) -> dict[str, NDArray[Any]]:
    """Return the inputs of ``warp_accel_WxH.tflite``.

    Args:
        key: uint8 RGB (H, W, 3).
        flow: float32 (H, W, 2), pixels, x and y.
    """
    height, width = key.shape[:2]
    table = np.zeros((height * width + width + 1, 4), np.float32)
    table[: height * width, :3] = key.reshape(-1, 3)
    planes = {f"flow_{name}": np.ascontiguousarray(flow[None, ..., [axis]]) for axis, name in enumerate("xy")}
    return {"key": table, **planes}


def warp_gpu_inputs(key: NDArray[np.uint8], flow: Floats) -> dict[str, NDArray[Any]]:
    """Return the inputs of ``warp_gpu_WxH.tflite``: the key frame and the places to read it at.

    Args:
        key: uint8 RGB (H, W, 3).
        flow: float32 (H, W, 2), pixels, x and y.
    """
    height, width = key.shape[:2]
    rows, columns = np.indices((height, width), np.float32)
    x = np.clip(columns + flow[..., 0], 0, width - 1)
    y = np.clip(rows + flow[..., 1], 0, height - 1)
    return {"key": key[None].astype(np.float32), "place": np.stack([x, y], axis=-1)[None]}


def transfer_accel_inputs(frame: NDArray[np.uint8], grid: Floats) -> dict[str, NDArray[Any]]:
    """Return the inputs of ``transfer_accel_WxH.tflite``.

    Args:
        frame: uint8 RGB (H, W, 3).
        grid: float32 (rows, columns, bins, 3, 4), unit range.
    """
    rows, columns, bins = grid.shape[:3]
    cells = grid.transpose(0, 1, 2, 4, 3).reshape(1, rows, columns, 12 * bins)
    return {"frame": frame[None].astype(np.float32), "cells": np.ascontiguousarray(cells)}


def resampled(key: Floats, place: Floats) -> Floats:
    """Return what the GPU delegate's Resampler computes, which has no CPU kernel: a bilinear reading.

    Args:
        key: float32 (1, H, W, C).
        place: float32 (1, H, W, 2), pixels, inside the frame.
    """
    height, width = key.shape[1:3]
    left, top = (np.floor(place[0, ..., axis]).astype(np.int64) for axis in (0, 1))
    across, along = place[0, ..., :1] - left[..., None], place[0, ..., 1:] - top[..., None]
    right, below = np.minimum(left + 1, width - 1), np.minimum(top + 1, height - 1)
    upper = key[0, top, left] * (1 - across) + key[0, top, right] * across
    lower = key[0, below, left] * (1 - across) + key[0, below, right] * across
    return np.asarray(upper * (1 - along) + lower * along, np.float32)[None]
