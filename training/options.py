"""What a stylizer is built from: its dimensions travel inside its checkpoint."""

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
        variant: ``mvstylizer`` (VGG encoder, frozen) or ``lite`` (a small encoder that trains along).
        colorization: Mode of Eq. 2, see `training.colorization`.
        finish: ``affine`` (guided: a grid of affine maps applied to the full frame) or ``plain`` (Eq. 3: the
            decoder's picture itself, upscaled).
        grading_rounds: Times that the global grade is predicted, looked at and corrected; 0 leaves the
            closed-form color transport alone.
        smoothing_maps: N_s of Eq. 3, the feature maps of W_s.
        network_pixels: Pixel budget of the network's input; larger frames are reduced to it.
        style_pixels: Pixel budget of the style image: a quarter of the network's, the size at which the
            grading compares content and style.
        map_cell: Pixels of the network's input that one cell of the affine map covers, each way.
        ridge: Regularization of the local fit, in unit-range variance: the larger, the closer a cell stays to
            the global grade.
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
