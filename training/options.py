"""The dimensions of a stylizer, which its checkpoint contains."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

ColorizationMode = Literal["literal", "mean", "residual", "moment", "attention"]
FinishMode = Literal["affine", "plain"]
Variant = Literal["mvstylizer", "lite"]


@dataclass(frozen=True)
class StylizerDims:
    """Dimensions and choices of a stylizer.

    Attributes:
        variant: ``mvstylizer`` (frozen VGG encoder) or ``lite`` (small trained encoder).
        colorization: Mode of Eq. 2; see `training.colorization`.
        finish: ``affine`` (guided: a grid of affine maps, applied to the full frame) or ``plain`` (Eq. 3:
            the decoder's picture, upscaled).
        grading_rounds: Rounds of the global grade; 0 uses the closed-form color transport alone.
        smoothing_maps: N_s of Eq. 3, the feature maps of W_s.
        network_pixels: Pixel budget of the network's input; larger frames are reduced to it.
        style_pixels: Pixel budget of the style image: a quarter of the network's, the size at which the
            grading compares content and style.
        map_cell: Side of an affine map's cell, in pixels of the network's input.
        ridge: Regularization of the local fit, a variance in the unit range; larger values keep a cell closer
            to the global grade.
    """

    variant: Variant = "mvstylizer"
    colorization: ColorizationMode = "moment"
    finish: FinishMode = "affine"
    grading_rounds: int = 3
    smoothing_maps: int = 16
    network_pixels: int = 288 * 512
    style_pixels: int = 144 * 256
    map_cell: int = 8
    ridge: float = 2e-3

    def as_dict(self) -> dict[str, Any]:
        """Return the fields as plain JSON types."""
        return asdict(self)
