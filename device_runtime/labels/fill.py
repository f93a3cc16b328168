"""A picture that one label has to itself: the rest is filled with the label's own pixels.

A stylizer takes its statistics (colour moments, tones, moments of features) from the whole picture that it is
given. A picture filled so has those of one label, whatever the label's shape, and no graph need change.

The fill is the monotone map between two areas (Knothe 1957): a row of the rest takes from that row of the
label which has the same share of its area above it, and a pixel from the same share of the way along it. So
every pixel of the label is repeated about equally often, and neighbours stay neighbours. Where the rest is
the larger, the label is laid out several times, to and fro, so that its texture is not stretched.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

BELOW_ONE: Final = 1 - 1e-9


def filled(picture: NDArray[np.uint8], inside: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """Fill all that lies outside a label with pixels of the label.

    Args:
        picture: uint8 RGB (H, W, 3).
        inside: bool (H, W), True on the label; at least one pixel is.

    Returns:
        uint8 RGB (H, W, 3): `picture` on the label. Mean and covariance of the whole are the label's: for
        compact labels of some hundred pixels a side within a fifth of a grey level and two per cent, for
        slivers and spikes within some grey level and some per cent.
    """
    if inside.all():
        return picture
    if _is_beside(inside):
        return np.ascontiguousarray(_filled_by_rows(picture.swapaxes(0, 1), inside.T).swapaxes(0, 1))
    return _filled_by_rows(picture, inside)


def _is_beside(inside: NDArray[np.bool_]) -> bool:
    """Tell whether label and rest lie left and right of each other, rather than above and below."""
    across, down = (abs(_middle(inside.sum(axis)) - _middle((~inside).sum(axis))) for axis in (0, 1))
    return across > down


def _middle(counts: NDArray[np.int_]) -> float:
    return float(np.average(np.arange(len(counts)), weights=counts))


def _filled_by_rows(picture: NDArray[np.uint8], inside: NDArray[np.bool_]) -> NDArray[np.uint8]:
    result = picture.copy()
    own, rest = inside.sum(1), (~inside).sum(1)
    above = np.cumsum(own) / own.sum()
    shares = (np.cumsum(rest) - rest / 2) / rest.sum()
    # Turned round, an odd number of times: the fill goes on as the label does at its upper and its lower end.
    times = 1 + 2 * round((np.count_nonzero(rest) / np.count_nonzero(own) - 1) / 2)
    sources = np.searchsorted(above, _to_and_fro(1 - shares, times), side="right")
    for row in np.flatnonzero(rest):
        columns = np.flatnonzero(inside[sources[row]])
        along = _to_and_fro((np.arange(rest[row]) + 0.5) / rest[row], max(1, round(rest[row] / len(columns))))
        result[row, ~inside[row]] = picture[sources[row], columns[(along * len(columns)).astype(int)]]
    return result


def _to_and_fro(shares: NDArray[np.float64], times: int) -> NDArray[np.float64]:
    """Spread shares of a way, 0 to 1, over `times` ways, every second one backwards: 0 to below 1 each."""
    return np.minimum(1 - abs(1 - shares * times % 2), BELOW_ONE)
