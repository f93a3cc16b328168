"""The key-frame stylizer: a global mapping and, on top of it, the paper's network as its local part.

    content ─ reduce ─┬─ thumbnail ─ look and palette heads ─ LUT ─┐
    style code ───────┴──────────────────────────────────────── map colors
                                                                   │ globally graded content
                        VGG encoder ─ colorization ─ decoder ──────┤  (paper Figure 4)
                                                                   + → smooth → finish (bilateral grid)

The global mapping (`training.look`) cannot tint patches, bleed over edges or raise a haze; the decoder's
correction adds what depends on the place, as far as the picture follows the style's palette. The variant
``lite`` is the global mapping alone.

The style is represented by a *style code*, N×K float32, which `encode_style` computes once per style: the
global code of `training.look.heads`, whose first value is the match, then, for the local part, mean and
standard deviation of each decoder level, shallow to deep, and with `attention` 8×8 tokens of the deepest one.

Images are N×3×H×W float32 RGB in [0, 1].
"""

from __future__ import annotations

import math
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from training.colorization import TOKENS, Colorization, channel_moments, style_tokens
from training.decoder import LEVELS, VGG_CHANNELS, Decoder
from training.global_mapping import GlobalMapping
from training.grid import apply_grid, fit_grid
from training.look.heads import GLOBAL_CODE, GlobalHeads, thumbnail
from training.look.network import LookNetwork
from training.options import StylizerDims
from training.smoothing import MetaSmoothing, scaled_size
from training.vgg import VggEncoder, mixed_precision

Moments = list[tuple[Tensor, Tensor]]


class LocalPart(nn.Module):
    """The paper's modules: encoder (frozen), colorization, mirrored decoder, meta-smoothing.

    Args:
        dims: Dimensions.
    """

    def __init__(self, dims: StylizerDims) -> None:
        super().__init__()
        self.attends = dims.colorization == "attention"
        self.max_correction = dims.max_correction
        self.encoder = VggEncoder(last=LEVELS[-1])
        self.colorization = Colorization(dims.colorization)
        self.decoder = Decoder(VGG_CHANNELS)
        self.smoothing = MetaSmoothing(dims.smoothing_maps)

    @property
    def code_size(self) -> int:
        """Length of the local part of a style code."""
        return 2 * sum(VGG_CHANNELS) + (TOKENS * VGG_CHANNELS[-1] if self.attends else 0)

    def encode_style(self, style: Tensor) -> Tensor:
        """Return the local part of the style code of N×3×h×w style images."""
        features = self.encoder(style, LEVELS)
        parts = [moment for level in LEVELS for moment in channel_moments(features[level])]
        if self.attends:
            parts.append(style_tokens(features[LEVELS[-1]]).flatten(1))
        return torch.cat(parts, dim=1)

    def correction(self, graded: Tensor, code: Tensor, *, mixed: bool) -> Tensor:
        """Return the decoder's correction to graded content (N×3×h×w), within `max_correction`."""
        features = self.encoder(graded, LEVELS)
        tokens = self._tokens(code)
        colorized = {
            level: self.colorization(features[level], *moments, tokens if level == LEVELS[-1] else None)
            for level, moments in zip(LEVELS, self._moments(code), strict=True)
        }
        with mixed_precision(graded, mixed):
            correction = self.decoder(features, colorized).float()
        return self.max_correction * torch.tanh(correction / self.max_correction)

    def _moments(self, code: Tensor) -> Moments:
        sizes = [size for channels in VGG_CHANNELS for size in (channels, channels)]
        parts = torch.split(code[:, : sum(sizes)], sizes, dim=1)
        return list(zip(parts[0::2], parts[1::2], strict=True))

    def _tokens(self, code: Tensor) -> Tensor | None:
        if not self.attends:
            return None
        return code[:, -TOKENS * VGG_CHANNELS[-1] :].view(-1, TOKENS, VGG_CHANNELS[-1])


class StylizerNetwork(nn.Module):
    """The complete network. The look network and the VGG encoder are trained elsewhere and frozen here.

    Args:
        dims: Dimensions; None uses the defaults.
        mixed: Run the convolutions in bfloat16, on a GPU or a CPU with AVX-512 BF16.
    """

    def __init__(self, dims: StylizerDims | None = None, *, mixed: bool = False) -> None:
        super().__init__()
        self.dims = dims or StylizerDims()
        self.heads = GlobalHeads(LookNetwork()).requires_grad_(False)
        self.local = LocalPart(self.dims) if self.dims.variant == "mvstylizer" else None
        self.set_mixed(mixed)

    def set_mixed(self, mixed: bool) -> None:
        """Switch the convolutions to bfloat16, or back to float32."""
        self.mixed = mixed
        if self.local is not None:
            self.local.encoder.mixed = mixed

    kind: Literal["grid"] = "grid"  # this and the following keep the export's protocol
    takes_thumbnail = True

    @property
    def network_pixels(self) -> int:
        """Pixel budget of the content."""
        return self.dims.network_pixels

    @property
    def style_pixels(self) -> int:
        """Pixel budget of a style photo."""
        return self.dims.style_pixels

    @property
    def cell(self) -> int:
        """Side of a cell of the grid in pixels."""
        return self.dims.map_cell

    @property
    def bins(self) -> int:
        """Bins of luma of the grid."""
        return self.dims.bins

    def predict(self, content: Tensor, style_code: Tensor, thumb: Tensor | None = None) -> Tensor:
        """Return the grid; see `grid`."""
        return self.grid(content, style_code, thumb)

    @property
    def style_code_size(self) -> int:
        """Length K of a style code."""
        return GLOBAL_CODE + (0 if self.local is None else self.local.code_size)

    def encode_style(self, style: Tensor, thumb: Tensor | None = None) -> Tensor:
        """Return the style code, N×K, of style images.

        Args:
            style: N×3×h×w; reduce it to `dims.style_pixels` first.
            thumb: Its thumbnail, N×3×96×96; None computes it.
        """
        code = self.heads.encode_style(thumbnail(style) if thumb is None else thumb)
        return code if self.local is None else torch.cat([code, self.local.encode_style(style)], dim=1)

    def mapping(self, content: Tensor, style_code: Tensor, thumb: Tensor | None = None) -> GlobalMapping:
        """Return the global mapping of content images (N×3×h×w) for a style; see `encode_style`."""
        small = thumbnail(content) if thumb is None else thumb
        look = self.heads.decide(small, style_code[:, :GLOBAL_CODE])
        return GlobalMapping(look.lut, look.match.unsqueeze(1))

    def decode(
        self, content: Tensor, style_code: Tensor, mapping: GlobalMapping, *, share: float | None = None
    ) -> Tensor:
        """Return I_cs, the stylized image at the network's size before meta-smoothing.

        Args:
            content: N×3×h×w; h and w are multiples of the grid's cell.
            style_code: N×K.
            mapping: The global mapping of the content.
            share: Share of the local correction; None takes `dims.local_share`.

        Returns:
            N×3×h×w, not clamped.
        """
        graded = mapping(content)
        if self.local is None:
            return graded
        correction = self.local.correction(graded, style_code[:, GLOBAL_CODE:], mixed=self.mixed)
        share = self.dims.local_share if share is None else share
        return graded + share * mapping.match.view(-1, 1, 1, 1) * correction

    def grid(self, content: Tensor, style_code: Tensor, thumb: Tensor | None = None) -> Tensor:
        """Return the bilateral grid, N×bins×12×h/cell×w/cell, of content images at the network's size."""
        mapping = self.mapping(content, style_code, thumb)
        return self.finish(content, self.decode(content, style_code, mapping), mapping)

    def finish(self, content: Tensor, stylized: Tensor, mapping: GlobalMapping) -> Tensor:
        """Smooth the result of `decode` and return its bilateral grid, N×bins×12×h/cell×w/cell."""
        smooth = stylized if self.local is None else self.local.smoothing(stylized)
        return fit_grid(
            content, smooth, mapping, mapping.gain, self.dims.map_cell, self.dims.bins, self.dims.ridge
        )

    def forward(self, frame: Tensor, style_code: Tensor, r: float = 1.0) -> Tensor:
        """Stylize a frame of any size; the result is round(r·H) × round(r·W).

        The network's input is the frame reduced to the pixel budget. With the ``grid`` finish its grid is
        applied to the frame resized by r; with ``plain``, Eq. 3 upscales the small stylized image.

        Raises:
            ValueError: r is not a positive number.
        """
        height, width = frame.shape[2:]
        small = resize(frame, network_size(height, width, self.dims))
        if self.dims.finish == "grid" or self.local is None:
            return self.render(frame, self.grid(small, style_code), r)
        out_size = scaled_size(height, width, r)
        stylized = self.decode(small, style_code, self.mapping(small, style_code))
        upscaled = self.local.smoothing(stylized, r=out_size[0] / small.shape[2])
        return resize(upscaled, out_size).clamp(0, 1)

    @staticmethod
    def render(frame: Tensor, grid: Tensor, r: float = 1.0) -> Tensor:
        """Apply a grid to a frame resized by r; the result is N×3×round(r·H)×round(r·W).

        Raises:
            ValueError: r is not a positive number.
        """
        height, width = frame.shape[2:]
        return apply_grid(grid, resize(frame, scaled_size(height, width, r)))


def network_size(height: int, width: int, dims: StylizerDims) -> tuple[int, int]:
    """Return the network's input size for a frame: within the pixel budget, multiples of the grid's cell.

    The limit is an area, so that the cost does not depend on the aspect ratio.
    """
    scale = min(1.0, math.sqrt(dims.network_pixels / (height * width)))
    cell = dims.map_cell
    return max(2, round(height * scale / cell)) * cell, max(2, round(width * scale / cell)) * cell


def style_size(height: int, width: int, dims: StylizerDims) -> tuple[int, int]:
    """Return the size at which a style image is encoded: within `dims.style_pixels`, sides of at least 16."""
    scale = min(1.0, math.sqrt(dims.style_pixels / (height * width)))
    return max(16, round(height * scale)), max(16, round(width * scale))


def resize(image: Tensor, size: tuple[int, int]) -> Tensor:
    """Resize N×3×H×W bilinearly (half-pixel centers), with anti-aliasing where it shrinks."""
    if tuple(image.shape[2:]) == tuple(size):
        return image
    return F.interpolate(image, size=size, mode="bilinear", align_corners=False, antialias=True)
