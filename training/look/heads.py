"""One LUT from a content and a style photo: look, palette, or a mixture by the likeness of the scenes."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn

from mvstylizer.stylizer import AUTO, Match
from training.look.checkpoint import load_look
from training.look.chroma_statistics import colorfulness
from training.look.lut import apply_lut, resample
from training.look.network import CODE, SCENE, THUMBNAIL, LookNetwork
from training.look.opponent import to_opponent
from training.look.palette import SIDE, palette_lut
from training.look.style_colors import STYLE_COLORS, StyleColors, cut, style_colors, unpack
from training.look.tone import measure

GLOBAL_CODE = 1 + CODE + SCENE + STYLE_COLORS
MIN_AUTO = 0.85  # match of scenes that have nothing in common
ALIKE = (0.1, 0.6)  # cosine of the scene vectors at which scenes begin to be alike, and are


class GlobalLook(NamedTuple):
    """What a pair calls for.

    Attributes:
        lut: N×3×17×17×17 in [0, 1], the whole mapping.
        match: N, 0 for the look alone, 1 for the palette alone.
    """

    lut: Tensor
    match: Tensor


class GlobalHeads(nn.Module):
    """Look and palette head together.

    A style is described by a *global code*, N×`GLOBAL_CODE`: the match (`AUTO`, or 0 for the look to 1 for
    the palette), the look network's code, its scene vector, and the style's colors.

    Args:
        network: A look network.
    """

    def __init__(self, network: LookNetwork) -> None:
        super().__init__()
        self.network = network

    @classmethod
    def load(cls, path: Path) -> GlobalHeads:
        """Load the look network from a checkpoint; raises ValueError where it cannot be read."""
        return cls(load_look(path)).eval()

    def encode_style(self, style: Tensor) -> Tensor:
        """Return the global code of N×3×96×96 style thumbnails, with match `AUTO`."""
        code, scene = self.network.encoder(style)
        auto = torch.full_like(code[:, :1], AUTO)
        return torch.cat([auto, code, scene, style_colors(style).pack()], dim=1)

    def decide(self, content: Tensor, global_code: Tensor) -> GlobalLook:
        """Decide on the LUT for N×3×96×96 content thumbnails and a style's global code."""
        match, code, scene, colors = cut(global_code, [1, CODE, SCENE, STYLE_COLORS])
        here, scene_here = self.network.encoder(content)
        style = unpack(colors)
        look = resample(self.network.lut(here, code).clamp(0, 1), SIDE)
        auto = (match < 0).to(match.dtype)
        share = auto * auto_match(scene_here, scene) + (1 - auto) * match
        mixed = look + share.view(-1, 1, 1, 1, 1) * (palette_lut(content, style) - look)
        lowered = lower_black(mixed, content, style)
        mixed = mixed + auto.view(-1, 1, 1, 1, 1) * (lowered - mixed)
        return GlobalLook(without_color(mixed, style), share.squeeze(1))

    @torch.no_grad()
    def forward(self, content: Tensor, style: Tensor, match: Match = "auto") -> GlobalLook:
        """Decide on the LUT for N×3×H×W photos (sRGB in [0, 1], any size).

        Args:
            content: The photo to change, or a frame that stands for a shot.
            style: The photo to follow.
            match: 0 for the look, 1 for the palette, between them a mixture; ``auto`` to decide.
        """
        code = self.encode_style(thumbnail(style))
        return self.decide(thumbnail(content), code if match == "auto" else with_match(code, match))


def with_match(code: Tensor, match: float) -> Tensor:
    """Return a style code that asks for a certain match; the match is its first value."""
    return torch.cat([torch.full_like(code[:, :1], match), code[:, 1:]], dim=1)


def thumbnail(photo: Tensor) -> Tensor:
    """Resize N×3×H×W photos of any shape to N×3×96×96; each pixel is the mean of the area that it covers.

    With a wider filter, such as bilinear with anti-aliasing, the look loses 0.2 dB on held-out truth: it was
    trained on area averages.
    """
    rows, columns = (_area_weights(side, THUMBNAIL).to(photo) for side in photo.shape[2:])
    return rows @ photo @ columns.T


def _area_weights(side: int, count: int) -> Tensor:
    """Return the share of each of `side` pixels in each of `count` equal parts of the side, count×side."""
    ends = torch.arange(count + 1, dtype=torch.float64).unsqueeze(1) * side / count
    pixels = torch.arange(side, dtype=torch.float64)
    overlap = torch.minimum(ends[1:], pixels + 1) - torch.maximum(ends[:-1], pixels)
    return overlap.clamp(min=0) * count / side


def auto_match(here: Tensor, there: Tensor) -> Tensor:
    """Return the match (N×1) for two scene vectors (N×32 of unit length)."""
    alike = (((here * there).sum(1, keepdim=True) - ALIKE[0]) / (ALIKE[1] - ALIKE[0])).clamp(0, 1)
    return MIN_AUTO + (1 - MIN_AUTO) * alike


def lower_black(lut: Tensor, content: Tensor, style: StyleColors) -> Tensor:
    """Re-level a LUT so that its black point does not exceed the mean of content's and style's."""
    before, black = (measure(to_opponent(x)[:, :1]).black for x in (content, apply_lut(lut, content)))
    excess = (black - (before + style.luma.black) / 2).clamp(min=0.0, max=0.5)
    scale = 1 + excess / (1 - black).clamp(min=0.25)
    return (1 - (1 - lut) * scale.view(-1, 1, 1, 1, 1)).clamp(0, 1)


def without_color(lut: Tensor, style: StyleColors) -> Tensor:
    """Take the chroma out of a LUT as far as the style has none."""
    share = colorfulness(style.highest).view(-1, 1, 1, 1, 1)
    luma = to_opponent(lut)[:, :1]
    return luma + share * (lut - luma)
