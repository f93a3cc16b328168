"""The key-frame stylizer: VGG encoder → colorization → mirrored decoder → meta-smoothing (paper Figure 4).

    content ─ reduce to the budget ─ grade ─ encode ─ colorize ─ decode ─┐
    style code ────────────────────────┴───────┘                         + → smooth → finish
                                                        graded content ──┘

The grade (`training.color`, `training.grading`) is the global part of the result, the decoder's correction
the local part.

The style is represented by a *style code*, N×K float32, which `encode_style` computes once per style: RGB
mean (3), covariance root (9) and tones (27), then mean and standard deviation of each decoder level, shallow
to deep, and with `attention` 8×8 tokens of the deepest level.

Images are N×3×H×W float32 RGB in [0, 1].
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from training.affine import apply_map, fit_map
from training.color import color_moments, style_color, transport
from training.colorization import TOKENS, Colorization, channel_moments, style_tokens
from training.decoder import LEVELS, VGG_CHANNELS, Decoder
from training.grading import KNOTS, Grade, Grading, Moments, apply_grade, curve_slope, tones
from training.lite import LITE_CHANNELS, LiteEncoder
from training.options import StylizerDims
from training.smoothing import MetaSmoothing, scaled_size
from training.vgg import VggEncoder, mixed_precision

COLOR_CODE = 12  # mean and covariance root
TONE_CODE = 3 * KNOTS
GRADING_SHRINK = 2  # the grading works at half the network's size


class StylizerNetwork(nn.Module):
    """The complete network. The VGG encoder is frozen; everything else is trained.

    Args:
        dims: Dimensions; None uses the defaults.
        mixed: Run the convolutions in bfloat16, on a GPU or a CPU with AVX-512 BF16.
    """

    def __init__(self, dims: StylizerDims | None = None, *, mixed: bool = False) -> None:
        super().__init__()
        self.dims = dims or StylizerDims()
        lite = self.dims.variant == "lite"
        self.channels = LITE_CHANNELS if lite else VGG_CHANNELS
        self.encoder = LiteEncoder() if lite else VggEncoder(last=LEVELS[-1])
        self.grading = Grading(self.channels, self.dims.grading_rounds)
        self.colorization = Colorization(self.dims.colorization)
        self.decoder = Decoder(self.channels)
        self.smoothing = MetaSmoothing(self.dims.smoothing_maps)
        self.set_mixed(mixed)

    def set_mixed(self, mixed: bool) -> None:
        """Switch the convolutions to bfloat16, or back to float32."""
        self.mixed = self.encoder.mixed = mixed

    @property
    def style_code_size(self) -> int:
        """Length K of a style code."""
        tokens = TOKENS * self.channels[-1] if self.dims.colorization == "attention" else 0
        return COLOR_CODE + TONE_CODE + 2 * sum(self.channels) + tokens

    def encode_style(self, style: Tensor) -> Tensor:
        """Return the style code, N×K, of a style image; reduce it to `dims.style_pixels` first."""
        mean, root = style_color(style)
        features = self.encoder(style, LEVELS)
        moments = [m for level in LEVELS for m in channel_moments(features[level])]
        parts = [mean, root.flatten(1), tones(style), *moments]
        if self.dims.colorization == "attention":
            parts.append(style_tokens(features[LEVELS[-1]]).flatten(1))
        return torch.cat(parts, dim=1)

    def grade(self, content: Tensor, style_code: Tensor) -> Grade:
        """Return the global grade of a content image (N×3×h×w) for a style."""
        root = style_code[:, 3:COLOR_CODE].view(-1, 3, 3)
        start = transport(*color_moments(content), style_code[:, :3], root)
        small = F.avg_pool2d(content, GRADING_SHRINK)
        style_tones = style_code[:, COLOR_CODE : COLOR_CODE + TONE_CODE]
        grade: Grade = self.grading(small, start, style_tones, self._moments(style_code), self._look)
        return grade

    def recolor(self, content: Tensor, style_code: Tensor) -> tuple[Tensor, Grade]:
        """Return the content with its global grade applied (N×3×h×w, unbounded), and the grade."""
        grade = self.grade(content, style_code)
        return apply_grade(grade, content), grade

    def decode(self, content: Tensor, style_code: Tensor) -> tuple[Tensor, Grade]:
        """Run grading, encoder, colorization and decoder at the network's size.

        Args:
            content: N×3×h×w; h and w are multiples of 8.
            style_code: N×K.

        Returns:
            I_cs, the stylized image before meta-smoothing (N×3×h×w, unbounded), and the grade.
        """
        graded, grade = self.recolor(content, style_code)
        features = self.encoder(graded.clamp(0, 1), LEVELS)
        tokens = self._tokens(style_code)
        colorized = {
            level: self.colorization(features[level], *moments, tokens if level == LEVELS[-1] else None)
            for level, moments in zip(LEVELS, self._moments(style_code), strict=True)
        }
        with mixed_precision(content, self.mixed):
            correction = self.decoder(features, colorized)
        return graded + correction.float(), grade

    def affine_map(self, content: Tensor, style_code: Tensor) -> Tensor:
        """Return the affine map N×12×h/cell×w/cell for a content image at the network's size."""
        stylized, grade = self.decode(content, style_code)
        return self.finish(content, stylized, grade)

    def finish(self, content: Tensor, stylized: Tensor, grade: Grade) -> Tensor:
        """Smooth the result of `decode` and return its affine map N×12×h/cell×w/cell."""
        matrix, shift = grade.affine[:, :, :3], grade.affine[:, :, 3]

        def gain(colors: Tensor) -> Tensor:
            graded = torch.einsum("nij,njhw->nihw", matrix, colors) + shift[:, :, None, None]
            return curve_slope(grade.slopes, graded).unsqueeze(2) * matrix[:, :, :, None, None]

        smooth = self.smoothing(stylized)
        return fit_map(content, smooth, gain, self.dims.map_cell, self.dims.ridge, grade.detail)

    def forward(self, frame: Tensor, style_code: Tensor, r: float = 1.0) -> Tensor:
        """Stylize a frame of any size; the result is round(r·H) × round(r·W).

        The network's input is the frame reduced to the pixel budget. With the ``affine`` finish its map is
        applied to the frame resized by r; with ``plain``, Eq. 3 upscales the small stylized image.

        Raises:
            ValueError: r is not a positive number.
        """
        height, width = frame.shape[2:]
        small = resize(frame, network_size(height, width, self.dims))
        if self.dims.finish == "affine":
            return self.render(frame, self.affine_map(small, style_code), r)
        out_size = scaled_size(height, width, r)
        stylized, _ = self.decode(small, style_code)
        upscaled = self.smoothing(stylized, r=out_size[0] / small.shape[2])
        return resize(upscaled, out_size).clamp(0, 1)

    @staticmethod
    def render(frame: Tensor, affine_map: Tensor, r: float = 1.0) -> Tensor:
        """Apply an affine map to a frame resized by r; the result is N×3×round(r·H)×round(r·W).

        Raises:
            ValueError: r is not a positive number.
        """
        height, width = frame.shape[2:]
        return apply_map(affine_map, resize(frame, scaled_size(height, width, r)))

    def _look(self, image: Tensor) -> Moments:
        features = self.encoder(image, LEVELS)
        return [channel_moments(features[level]) for level in LEVELS]

    def _moments(self, style_code: Tensor) -> Moments:
        sizes = [size for channels in self.channels for size in (channels, channels)]
        start = COLOR_CODE + TONE_CODE
        parts = torch.split(style_code[:, start : start + sum(sizes)], sizes, dim=1)
        return list(zip(parts[0::2], parts[1::2], strict=True))

    def _tokens(self, style_code: Tensor) -> Tensor | None:
        if self.dims.colorization != "attention":
            return None
        return style_code[:, -TOKENS * self.channels[-1] :].view(-1, TOKENS, self.channels[-1])


def network_size(height: int, width: int, dims: StylizerDims) -> tuple[int, int]:
    """Return the network's input size for a frame: within the pixel budget, multiples of the map cell.

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
