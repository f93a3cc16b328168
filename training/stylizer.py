"""The key-frame stylizer: VGG encoder → colorization → mirrored decoder → meta-smoothing (paper Figure 4).

    content ─ reduce to the budget ─ recolour (MKL) ─ encode ─ colorize ─ decode ─┐
    style code ────────────────────────┴────────────────────────┘                 + → smooth → finish
                                                               recoloured content ┘

The style enters only as a *style code*, N×K float32, computed once per style by `encode_style`: its RGB
mean (3) and covariance root (9), then mean and standard deviation of each decoder level, shallow to deep.

Images are N×3×H×W float32 RGB in [0, 1].
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from training.affine import apply_map, fit_map
from training.colorization import Colorization, channel_moments
from training.colour import apply_colour, colour_moments, style_colour, transport
from training.decoder import LEVEL_CHANNELS, LEVELS, Decoder
from training.options import StylizerDims
from training.smoothing import MetaSmoothing, scaled_size
from training.vgg import VggEncoder, mixed_precision

COLOUR_CODE = 12  # mean and covariance root
STYLE_CODE = COLOUR_CODE + 2 * sum(LEVEL_CHANNELS)


class Stylizer(nn.Module):
    """The four modules under one roof. Only colorization, decoder and smoothing train; the encoder is frozen.

    Args:
        dims: Dimensions and choices; they travel in the checkpoint.
        mixed: Run the convolutions in bfloat16 (training on a GPU or a CPU with AVX-512 BF16).
    """

    def __init__(self, dims: StylizerDims | None = None, *, mixed: bool = False) -> None:
        super().__init__()
        self.dims = dims or StylizerDims()
        self.mixed = mixed
        self.encoder = VggEncoder(last=LEVELS[-1], mixed=mixed)
        self.colorization = Colorization(self.dims.colorization)
        self.decoder = Decoder()
        self.smoothing = MetaSmoothing(self.dims.smoothing_maps)

    def encode_style(self, style: Tensor) -> Tensor:
        """Return the style code, N×K, of a style image; reduce it to `dims.style_pixels` first."""
        mean, root = style_colour(style)
        features = self.encoder(style, LEVELS)
        moments = [m for level in LEVELS for m in channel_moments(features[level])]
        return torch.cat([mean, root.flatten(1), *moments], dim=1)

    def recolour(self, content: Tensor, style_code: Tensor) -> tuple[Tensor, Tensor]:
        """Return content in the style's global colours (N×3×h×w, unbounded), and the N×3×4 map doing it."""
        root = style_code[:, 3:COLOUR_CODE].view(-1, 3, 3)
        colour_map = transport(*colour_moments(content), style_code[:, :3], root)
        return apply_colour(colour_map, content), colour_map

    def decode(self, content: Tensor, style_code: Tensor) -> tuple[Tensor, Tensor]:
        """Run encoder, colorization and decoder at the network's size.

        Args:
            content: N×3×h×w; h and w are multiples of 4.
            style_code: N×K.

        Returns:
            I_cs, the stylization before meta-smoothing (N×3×h×w, unbounded), and the global colour map
            (N×3×4).
        """
        recoloured, colour_map = self.recolour(content, style_code)
        features = self.encoder(recoloured.clamp(0, 1), LEVELS)
        colorized = {
            level: self.colorization(features[level], mean, std)
            for level, (mean, std) in zip(LEVELS, self._moments(style_code), strict=True)
        }
        with mixed_precision(content, self.mixed):
            correction = self.decoder(features, colorized)
        return recoloured + correction.float(), colour_map

    def affine_map(self, content: Tensor, style_code: Tensor) -> Tensor:
        """Return the affine map N×12×h/cell×w/cell for a content image at the network's size."""
        stylized, colour_map = self.decode(content, style_code)
        smooth = self.smoothing(stylized)
        return fit_map(content, smooth, colour_map, self.dims.map_cell, self.dims.ridge)

    def forward(self, frame: Tensor, style_code: Tensor, r: float = 1.0) -> Tensor:
        """Stylize a frame of any size; the result is round(r·H) × round(r·W).

        The network sees the frame reduced to its pixel budget. With the ``affine`` finish the map it gives is
        applied to the frame itself (resized by r); with ``plain``, Eq. 3 upscales the small stylization.

        Raises:
            ValueError: r is not a positive number.
        """
        height, width = frame.shape[2:]
        out_size = scaled_size(height, width, r)
        small = resize(frame, network_size(height, width, self.dims))
        if self.dims.finish == "affine":
            return apply_map(self.affine_map(small, style_code), resize(frame, out_size))
        stylized, _ = self.decode(small, style_code)
        upscaled = self.smoothing(stylized, r=out_size[0] / small.shape[2])
        return resize(upscaled, out_size).clamp(0, 1)

    def _moments(self, style_code: Tensor) -> list[tuple[Tensor, Tensor]]:
        sizes = [size for channels in LEVEL_CHANNELS for size in (channels, channels)]
        parts = torch.split(style_code[:, COLOUR_CODE:], sizes, dim=1)
        return list(zip(parts[0::2], parts[1::2], strict=True))


def network_size(height: int, width: int, dims: StylizerDims) -> tuple[int, int]:
    """Return the network's input size for a frame: within the pixel budget, multiples of the map cell.

    An area, not a side, bounds it, so that the cost is the same for any aspect ratio.
    """
    scale = min(1.0, math.sqrt(dims.network_pixels / (height * width)))
    cell = dims.map_cell
    return max(2, round(height * scale / cell)) * cell, max(2, round(width * scale / cell)) * cell


def style_size(height: int, width: int, dims: StylizerDims) -> tuple[int, int]:
    """Return the size at which a style image is encoded: within `dims.style_pixels`, at least 16 each way."""
    scale = min(1.0, math.sqrt(dims.style_pixels / (height * width)))
    return max(16, round(height * scale)), max(16, round(width * scale))


def resize(image: Tensor, size: tuple[int, int]) -> Tensor:
    """Resize N×3×H×W bilinearly (half-pixel centres), with anti-aliasing where it shrinks."""
    if tuple(image.shape[2:]) == tuple(size):
        return image
    return F.interpolate(image, size=size, mode="bilinear", align_corners=False, antialias=True)
