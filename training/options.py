"""What a stylizer is built from: its dimensions travel inside its checkpoint."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

ColorizationMode = Literal["literal", "mean", "residual", "moment"]
FinishMode = Literal["affine", "plain"]


@dataclass(frozen=True)
class StylizerDims:
    """Dimensions and choices of a stylizer.

    Attributes:
        colorization: Mode of Eq. 2, see `training.colorization`.
        finish: ``affine`` (guided: a grid of affine maps applied to the full frame) or ``plain`` (Eq. 3: the
            decoder's picture itself, upscaled).
        smoothing_maps: N_s of Eq. 3, the feature maps of W_s.
        network_pixels: Pixel budget of the network's input; larger frames are reduced to it.
        style_pixels: Pixel budget of the style image.
        map_cell: Pixels of the network's input that one cell of the affine map covers, each way.
        ridge: Regularisation of the local fit, in unit-range variance: the larger, the closer a cell stays to
            the global colour map.
    """

    colorization: ColorizationMode = "moment"
    finish: FinishMode = "affine"
    smoothing_maps: int = 16
    network_pixels: int = 288 * 512
    style_pixels: int = 256 * 256
    map_cell: int = 8
    ridge: float = 2e-3

    def as_dict(self) -> dict[str, Any]:
        """Return the fields as plain JSON types."""
        return asdict(self)
