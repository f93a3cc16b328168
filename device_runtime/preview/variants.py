"""Stylize one frame at several matches and strengths, at the size of a thumbnail."""

from __future__ import annotations

from types import TracebackType
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray

from device_runtime.frames import NETWORK_PIXELS
from device_runtime.interpolation.grid import grid_of, weakened
from device_runtime.kernels import Transfer
from device_runtime.stylizers.resize import shrunk
from device_runtime.stylizers.style_mix import StyleMix
from mvstylizer.bundle import Bundle
from mvstylizer.stylizer import LOOK, PALETTE, BilateralGrid, Match, Stylizer, with_match

MATCHES: Final[dict[str, Match]] = {"look": LOOK, "auto": "auto", "palette": PALETTE}
"""The named matches, in the order in which they are shown."""


class Variants:
    """Stylizes pictures after one style, at any match and strength. Not thread-safe.

    Use as a context manager.

    Args:
        style: The style; its own match is ignored.
        stylizer: Stylizes the pictures.
        bundle: Provides the kernel, and declares the network's input size.

    Attributes:
        pixels: Size of a picture, height × width, beyond which it is shrunk.

    Raises:
        MVStylizerError: The stylizer cannot be reached, or rejects the style; or the kernel cannot be loaded.
    """

    def __init__(self, style: StyleMix, stylizer: Stylizer, bundle: Bundle) -> None:
        self.pixels = preview_pixels(bundle)
        self._stylizer = stylizer
        self._code = style.encoded_by(stylizer)
        self._transfer = Transfer(bundle.file("transfer"))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Release the kernel; the caller closes the stylizer."""
        self._transfer.close()

    def grid(self, picture: NDArray[np.uint8], match: Match) -> BilateralGrid:
        """Return the map of a picture, uint8 RGB (H, W, 3), at a match.

        Raises:
            MVStylizerError: The stylizer fails.
        """
        small = shrunk(picture, self.pixels)
        return grid_of(self._stylizer.stylize(small, with_match(self._code, match), reply="map"))

    def picture(
        self, picture: NDArray[np.uint8], grid: BilateralGrid, strength: float = 1.0
    ) -> NDArray[np.uint8]:
        """Apply a map with a strength, as a run does; uint8 RGB (H, W, 3) at the size of `pixels`."""
        return self._transfer(shrunk(picture, self.pixels), weakened(grid, strength))


def preview_pixels(bundle: Bundle) -> int:
    """Return the size at which a bundle's network sees a frame, and at which previews are shown."""
    return int(bundle.network.get("network_pixels", NETWORK_PIXELS))


def match_name(match: Match) -> str:
    """Return the name of a match, as the command line takes it."""
    names = (name for name, known in MATCHES.items() if known == match)
    return next(names, str(match))
