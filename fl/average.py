"""Average edge updates (Algorithm 2), with protection against outliers.

Tensors are processed block by block in float64. Memory beyond the result is a few blocks regardless of the
number of edges, and the result does not depend on their order.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from fl.parameters import Parameters, ParametersError

Mode = Literal["frames", "equal", "trimmed"]
Block = NDArray[np.float64]

BLOCK = 1 << 14  # values; ten edges' blocks in float64 are 1.3 MB


@dataclass(frozen=True)
class Averaging:
    """How updates are averaged into one model.

    Attributes:
        mode: ``frames`` weights each edge by the number of frames it trained on, ``equal`` is the paper's
            Algorithm 2, ``trimmed`` drops the extreme values of each parameter before an equal mean.
        trim: Fraction of the edges that ``trimmed`` drops at each end, below 0.5.
        clip: Maximum length of an update, as a multiple of the (lower) median length; 0 disables clipping.
        max_weight: Maximum weight of an edge, as a multiple of the (lower) median weight; 0 disables the
            limit. An edge counts its frames itself, so a false count must not take the whole step.
    """

    mode: Mode = "frames"
    trim: float = 0.2
    clip: float = 3.0
    max_weight: float = 10.0

    def __post_init__(self) -> None:
        if not 0 <= self.trim < 0.5:
            raise ValueError(f"trim must be in [0, 0.5), not {self.trim}")
        if not self.clip >= 0:
            raise ValueError(f"clip must not be negative, not {self.clip}")
        if not self.max_weight >= 0:
            raise ValueError(f"max_weight must not be negative, not {self.max_weight}")


def merge(
    base: Parameters, updates: Sequence[Parameters], weights: Sequence[float], averaging: Averaging
) -> dict[str, NDArray[np.float32]]:
    """Return the next global model.

    Args:
        base: The model at the start of the round.
        updates: Parameters from each edge, already checked against `base`.
        weights: Number of frames of each edge, not negative; only used by ``frames``.
        averaging: Mode and limits.

    Raises:
        ParametersError: There are no updates, or none was trained on a frame.
        ValueError: A weight is negative or not finite, or the number of weights is wrong.
    """
    if len(weights) != len(updates) or not all(w >= 0 and math.isfinite(w) for w in weights):
        raise ValueError(f"{len(updates)} updates need as many finite, non-negative weights, not {weights}")
    if averaging.mode != "frames":
        weights = [1.0] * len(updates)
    if not sum(weights) > 0:
        raise ParametersError("Nothing to average: no edge trained on a frame", "Fill the spools")
    weights = cap_weights(weights, averaging.max_weight)
    scales = clip_scales([distance(update, base) for update in updates], averaging.clip)
    if averaging.mode == "trimmed":
        dropped = int(averaging.trim * len(updates))

        def combine(block: Block) -> Block:
            block.sort(axis=0)
            mean: Block = block[dropped : len(updates) - dropped].mean(axis=0)
            return mean
    else:
        shares = np.array(weights, np.float64) / math.fsum(weights)

        def combine(block: Block) -> Block:
            mean: Block = shares @ block
            return mean

    return {
        name: _combine(base[name], [update[name] for update in updates], scales, combine) for name in base
    }


def distance(update: Parameters, base: Parameters) -> float:
    """Return the Euclidean norm of update - base over all parameters."""
    squares = (
        float(np.square(a[part].astype(np.float64) - b[part]).sum())
        for a, b in ((update[name].reshape(-1), base[name].reshape(-1)) for name in base)
        for part in _parts(a.size)
    )
    return math.sqrt(math.fsum(squares))


def clip_scales(lengths: Sequence[float], clip: float) -> list[float]:
    """Return the factor by which each update is scaled; 1 leaves it unchanged.

    The bound is a multiple of the *lower* median: with two edges it is the length of the shorter update, so
    one honest edge of two is enough.
    """
    if clip == 0 or not lengths:
        return [1.0] * len(lengths)
    bound = clip * statistics.median_low(lengths)
    return [min(1.0, bound / length) if length > 0 else 1.0 for length in lengths]


def cap_weights(weights: Sequence[float], max_weight: float) -> list[float]:
    """Return the weights, limited to a multiple of the (lower) median of those above zero; 0 = no limit."""
    positive = [weight for weight in weights if weight > 0]
    if max_weight == 0 or not positive:
        return list(weights)
    bound = max_weight * statistics.median_low(positive)
    return [min(weight, bound) for weight in weights]


def _combine(
    base: NDArray[np.float32],
    updates: Sequence[NDArray[np.float32]],
    scales: Sequence[float],
    combine: Callable[[Block], Block],
) -> NDArray[np.float32]:
    start, flat = base.reshape(-1), [update.reshape(-1) for update in updates]
    merged = np.empty(start.size, np.float32)
    for part in _parts(start.size):
        origin = start[part].astype(np.float64)
        block = np.stack([values[part] for values in flat], dtype=np.float64)
        for row, scale in zip(block, scales, strict=True):
            if scale != 1:
                row[:] = origin + scale * (row - origin)
        merged[part] = combine(block)
    return merged.reshape(base.shape)


def _parts(size: int) -> Iterator[slice]:
    return (slice(first, min(first + BLOCK, size)) for first in range(0, size, BLOCK))
