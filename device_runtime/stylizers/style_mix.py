"""Style photos and their weights: one, or several mixed.

A style code holds means, deviations and roots of covariances, which mix linearly: halfway between two styles
is a style. So several photos cost one encoding each, and nothing per frame.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from device_runtime.media.photo import read_photo
from device_runtime.stylizers.shrink import shrunk
from mvstylizer.stylizer import Stylizer

STYLE_PIXELS: Final = 512 * 512  # the style encoder looks at less than that

StylePhotos = Path | Mapping[Path, float]
"""One photo, or several with their weights, which count relative to each other."""


class StyleWeightError(ValueError):
    """A weight is negative or no number, or all are 0 (wrong usage, not a broken file)."""


@dataclass(frozen=True)
class StyleMix:
    """Photos ready to be encoded.

    Attributes:
        photos: uint8 RGB (H, W, 3) each, no larger than an encoder needs.
        weights: Of each photo; they add up to 1.
    """

    photos: tuple[NDArray[np.uint8], ...]
    weights: tuple[float, ...]

    @classmethod
    def of(cls, photo: NDArray[np.uint8]) -> StyleMix:
        """Return the style of one photo, uint8 RGB (H, W, 3)."""
        return cls((shrunk(photo, STYLE_PIXELS),), (1.0,))

    @classmethod
    def read(cls, photos: StylePhotos) -> StyleMix:
        """Read photos.

        Raises:
            StyleWeightError: The weights are no weights.
            PhotoError: A photo cannot be read.
        """
        weights = normalised(photos)
        read = tuple(shrunk(read_photo(path), STYLE_PIXELS) for path in weights)
        return cls(read, tuple(weights.values()))

    def encoded_by(self, stylizer: Stylizer) -> NDArray[np.float32]:
        """Return the mixed style code, float32 (K,).

        Raises:
            MVStylizerError: The stylizer cannot be reached, or refuses a photo.
        """
        codes = [stylizer.encode_style(photo) for photo in self.photos]
        if len(codes) == 1:
            return codes[0]  # to the bit what the stylizer gave: an edge knows its codes again
        return np.asarray(np.average(codes, 0, self.weights), np.float32)


def normalised(photos: StylePhotos) -> dict[Path, float]:
    """Return photos with weights that add up to 1; those that weigh nothing are left out.

    Raises:
        StyleWeightError: A weight is negative or no number, or all are 0.
    """
    given = {photos: 1.0} if isinstance(photos, Path) else dict(photos)
    total = math.fsum(given.values())
    if not all(0 <= weight < math.inf for weight in given.values()) or not 0 < total < math.inf:
        words = ", ".join(f"{weight:g}" for weight in given.values())
        raise StyleWeightError(
            f"style weights {words or 'are missing'}: each must be 0 or above, one above 0"
        )
    return {path: weight / total for path, weight in given.items() if weight}
