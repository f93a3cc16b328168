"""The dimensions of a stylizer, which its checkpoint contains."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

ColorizationMode = Literal["literal", "mean", "residual", "moment", "attention"]
FinishMode = Literal["grid", "plain"]
Variant = Literal["mvstylizer", "lite"]


@dataclass(frozen=True)
class StylizerDims:
    """Dimensions and choices of a stylizer.

    Attributes:
        variant: ``mvstylizer`` (global mapping and local part) or ``lite`` (global mapping alone).
        colorization: Mode of Eq. 2; see `training.colorization`.
        finish: ``grid`` (guided: a bilateral grid, applied to the full frame) or ``plain`` (Eq. 3: the
            decoder's picture, upscaled).
        smoothing_maps: N_s of Eq. 3, the feature maps of W_s.
        max_correction: Bound of the local correction, unit range.
        local_share: Share of the local correction that is applied, except in training: the Gram loss prefers
            more of it than viewers do.
        network_pixels: Pixel budget of the network's input; larger frames are reduced to it.
        style_pixels: Pixel budget of the style image, a quarter of the network's.
        map_cell: Side of a cell of the grid, in pixels of the network's input: 9 × 16 cells at 16:9.
        bins: Bins of luma of the grid.
        ridge: Regularization of the local fit, a variance in the unit range; larger values keep a cell closer
            to the global mapping.
    """

    variant: Variant = "mvstylizer"
    colorization: ColorizationMode = "moment"
    finish: FinishMode = "grid"
    smoothing_maps: int = 16
    max_correction: float = 0.15
    local_share: float = 0.35
    network_pixels: int = 288 * 512
    style_pixels: int = 144 * 256
    map_cell: int = 32
    bins: int = 6
    ridge: float = 1e-3

    def as_dict(self) -> dict[str, Any]:
        """Return the fields as plain JSON types."""
        return asdict(self)
