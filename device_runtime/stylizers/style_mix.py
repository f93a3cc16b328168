"""Style photos and their weights: one, or a mix of several.

A style code holds means, deviations and roots of covariances, which mix linearly: the average of two codes is
a style. So a mix costs one encoding per photo and nothing per frame.
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
from device_runtime.stylizers.resize import shrunk
from mvstylizer.bundle import Bundle
from mvstylizer.errors import MVStylizerError
from mvstylizer.stylizer import Match, Stylizer, with_match

STYLE_PIXELS: Final = 512 * 512  # more than the style encoder uses

StylePhotos = Path | Mapping[Path, float]
"""One photo, or several with relative weights."""


class MatchError(MVStylizerError):
    """Error raised for a match that the model does not have."""


class StyleWeightError(ValueError):
    """Error raised for a negative or non-finite weight, or if all weights are 0."""


@dataclass(frozen=True)
class StyleMix:
    """Photos ready to be encoded.

    Attributes:
        photos: uint8 RGB (H, W, 3) each, no larger than an encoder needs.
        weights: One per photo; they sum to 1.
        match: How they are followed; see `mvstylizer.stylizer.Match`.
    """

    photos: tuple[NDArray[np.uint8], ...]
    weights: tuple[float, ...]
    match: Match = "auto"

    @classmethod
    def of(cls, photo: NDArray[np.uint8], match: Match = "auto") -> StyleMix:
        """Return the style of one photo, uint8 RGB (H, W, 3)."""
        return cls((shrunk(photo, STYLE_PIXELS),), (1.0,), match)

    @classmethod
    def read(cls, photos: StylePhotos, match: Match = "auto") -> StyleMix:
        """Read photos.

        Raises:
            StyleWeightError: The weights are invalid.
            PhotoError: A photo cannot be read.
        """
        weights = normalized(photos)
        read = tuple(shrunk(read_photo(path), STYLE_PIXELS) for path in weights)
        return cls(read, tuple(weights.values()), match)

    def encoded_by(self, stylizer: Stylizer) -> NDArray[np.float32]:
        """Return the mixed style code, float32 (K,).

        Raises:
            MVStylizerError: The stylizer cannot be reached, or rejects a photo.
        """
        codes = [stylizer.encode_style(photo) for photo in self.photos]
        # One code stays as it is, bit for bit: the edge recognizes its own.
        code = codes[0] if len(codes) == 1 else np.asarray(np.average(codes, 0, self.weights), np.float32)
        return code if self.match == "auto" else with_match(code, self.match)


def check_match(match: Match, bundle: Bundle) -> None:
    """Check that a model's style codes have a match, if one is requested.

    Raises:
        MatchError: They have none: the stylizer is not the kit's own.
    """
    if match != "auto" and not bundle.has_match:
        raise MatchError(f"{bundle.name} has no look and palette to choose from", "Omit --match")


def normalized(photos: StylePhotos) -> dict[Path, float]:
    """Return photos with weights that sum to 1, without those of weight 0.

    Raises:
        StyleWeightError: A weight is negative or not finite, or all are 0.
    """
    given = {photos: 1.0} if isinstance(photos, Path) else dict(photos)
    total = math.fsum(given.values())
    if not all(0 <= weight < math.inf for weight in given.values()) or not 0 < total < math.inf:
        listed = ", ".join(f"{weight:g}" for weight in given.values())
        raise StyleWeightError(
            f"invalid style weights ({listed or 'none'}): each must be at least 0, and one above 0"
        )
    return {path: weight / total for path, weight in given.items() if weight}
