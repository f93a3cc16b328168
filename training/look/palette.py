"""The palette: the style's light and colors as one smooth global mapping, in closed form.

Meant for scenes that are alike. Luma follows a bounded rising curve (`tone`), chroma a bounded transport
(`chroma`). Held back as a colorist would: black and white points between the two pictures',
never more saturated than the style, no chroma under a monochrome style.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from training.look.chroma import ChromaOptions, move_chroma
from training.look.lut import identity_lut
from training.look.opponent import from_opponent, to_opponent
from training.look.style_colors import StyleColors
from training.look.tone import ToneOptions, evaluate, measure, tone_curve

SIDE = 17  # nodes of the LUT along each axis


@dataclass(frozen=True)
class PaletteOptions:
    """How closely the palette follows the style."""

    tone: ToneOptions = field(default_factory=ToneOptions)
    chroma: ChromaOptions = field(default_factory=ChromaOptions)


DEFAULT = PaletteOptions()


def palette_lut(content: Tensor, style: StyleColors, options: PaletteOptions = DEFAULT) -> Tensor:
    """Return the LUT (N×3×17×17×17, in [0, 1]) that gives content the palette of style.

    Args:
        content: N×3×h×w thumbnails, sRGB in [0, 1].
        style: Colors of the style.
        options: How far to go.
    """
    curve = tone_curve(measure(to_opponent(content)[:, :1]), style.luma, options.tone)
    here = to_opponent(content.flatten(2))
    nodes = to_opponent(identity_lut(SIDE).to(content).flatten(1).unsqueeze(0)).expand(len(content), -1, -1)
    here, nodes = _relit(here, curve), _relit(nodes, curve)
    chroma = move_chroma(nodes, here, style, options.chroma)
    moved = from_opponent(torch.cat([nodes[:, :1], chroma], dim=1))
    return moved.view(-1, 3, SIDE, SIDE, SIDE)


def _relit(colors: Tensor, curve: Tensor) -> Tensor:
    """Send the luma of opponent colors (N×3×P) through a curve."""
    return torch.cat([evaluate(curve, colors[:, 0]).unsqueeze(1), colors[:, 1:]], dim=1)
