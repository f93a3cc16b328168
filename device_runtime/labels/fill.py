"""Fill everything outside a label with the label's pixels.

A stylizer computes its statistics (color moments, tones, feature moments) over the whole input. A filled
picture has the statistics of one label, whatever the label's shape, without any change to the model.

The fill is the monotone map between two areas (Knothe 1957): each row outside the label copies from the row
of the label with the same share of area above it, and each pixel from the same relative position along that
row. So every pixel of the label is repeated about equally often and neighbors stay neighbors. If the label is
the smaller area, it is repeated several times, mirrored every second time, so that its texture is not
stretched.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

BELOW_ONE: Final = 1 - 1e-9


def filled(picture: NDArray[np.uint8], inside: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """Fill everything outside a label with pixels of the label.

    Args:
        picture: uint8 RGB (H, W, 3).
        inside: bool (H, W), True on the label; at least one pixel must be True.

    Returns:
        uint8 RGB (H, W, 3), equal to `picture` on the label. Mean and covariance match the label's: within
        0.2 gray levels and 2 % for compact labels of a few hundred pixels a side, within a few gray levels
        and a few percent for slivers and spikes.
    """
    if inside.all():
        return picture
    if _side_by_side(inside):
        return np.ascontiguousarray(_filled_by_rows(picture.swapaxes(0, 1), inside.T).swapaxes(0, 1))
    return _filled_by_rows(picture, inside)


def _side_by_side(inside: NDArray[np.bool_]) -> bool:
    """Return whether the label and the rest lie side by side rather than one above the other."""
    across, down = (abs(_middle(inside.sum(axis)) - _middle((~inside).sum(axis))) for axis in (0, 1))
    return across > down


def _middle(counts: NDArray[np.int_]) -> float:
    return float(np.average(np.arange(len(counts)), weights=counts))


def _filled_by_rows(picture: NDArray[np.uint8], inside: NDArray[np.bool_]) -> NDArray[np.uint8]:
    result = picture.copy()
    own, rest = inside.sum(1), (~inside).sum(1)
    above = np.cumsum(own) / own.sum()
    shares = (np.cumsum(rest) - rest / 2) / rest.sum()
    # Reversed, an odd number of times, so that the fill continues the label at its upper and lower ends.
    times = 1 + 2 * round((np.count_nonzero(rest) / np.count_nonzero(own) - 1) / 2)
    sources = np.searchsorted(above, _mirrored(1 - shares, times), side="right")
    for row in np.flatnonzero(rest):
        columns = np.flatnonzero(inside[sources[row]])
        along = _mirrored((np.arange(rest[row]) + 0.5) / rest[row], max(1, round(rest[row] / len(columns))))
        result[row, ~inside[row]] = picture[sources[row], columns[(along * len(columns)).astype(int)]]
    return result


def _mirrored(shares: NDArray[np.float64], times: int) -> NDArray[np.float64]:
    """Map 0..1 onto `times` passes over 0 to just below 1, every second one backwards."""
    return np.minimum(1 - abs(1 - shares * times % 2), BELOW_ONE)
