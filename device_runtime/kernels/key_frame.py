"""``key_frame.tflite``: scores how much the content has changed since the last key frame."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from device_runtime.kernels.interpreter import KernelError, KernelInterpreter

LUMA_SHAPE = (90, 160)
EQUAL_WEIGHTS = (1 / 3, 1 / 3, 1 / 3)


class KeyFrameScoreResult(NamedTuple):
    """The kernel's result for one frame.

    Attributes:
        is_key: Whether the score has reached the threshold, or the gap its maximum.
        score: weights · features.
        features: Mean difference, histogram distance and edge change, each 0..1.
    """

    is_key: bool
    score: float
    features: tuple[float, float, float]


class KeyFrameScore:
    """Compares a frame with the last key frame, both as luma thumbnails.

    Args:
        path: ``key_frame.tflite``.

    Raises:
        KernelError: The file cannot be loaded.
    """

    def __init__(self, path: Path | str) -> None:
        self._interpreter = KernelInterpreter(path)
        self._interpreter.resize({})

    @property
    def last(self) -> KernelInterpreter:
        """The interpreter, with the inputs and outputs of the last call."""
        return self._interpreter

    def __call__(
        self,
        cur_luma: NDArray[np.uint8],
        key_luma: NDArray[np.uint8],
        *,
        threshold: float,
        gap: int,
        max_gap: int,
        weights: tuple[float, float, float] = EQUAL_WEIGHTS,
    ) -> KeyFrameScoreResult:
        """Decide whether the current frame should become a key frame.

        Args:
            cur_luma: uint8 (90, 160), the current frame.
            key_luma: uint8 (90, 160), the last key frame.
            threshold: Score from which a frame is a key frame.
            gap: Frames since the last key frame.
            max_gap: Gap from which a frame is a key frame whatever its score.
            weights: Weights of mean difference, histogram distance and edge change.

        Raises:
            KernelError: A luma has the wrong dtype or shape.
        """
        for name, luma in (("cur", cur_luma), ("key", key_luma)):
            if luma.dtype != np.uint8 or luma.shape != LUMA_SHAPE:
                raise KernelError(f"Luma {name} is {luma.dtype} {luma.shape}, not uint8 {LUMA_SHAPE}")
            self._interpreter.put(name, luma)
        self._interpreter.put("threshold", np.array([threshold], np.float32))
        self._interpreter.put("weights", np.array(weights, np.float32))
        self._interpreter.put("gap", np.array([gap], np.int32))
        self._interpreter.put("max_gap", np.array([max_gap], np.int32))
        self._interpreter.invoke()
        difference, histogram, edges = (float(v) for v in self._interpreter.get("features"))
        return KeyFrameScoreResult(
            bool(self._interpreter.get("is_key")[0]),
            float(self._interpreter.get("score")[0]),
            (difference, histogram, edges),
        )
