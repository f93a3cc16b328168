"""One LUT from a content and a style photo: look, palette, or a mixture by the likeness of the scenes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from training.look.checkpoint import load_look
from training.look.chroma import colorfulness
from training.look.lut import apply_lut, resample
from training.look.network import THUMBNAIL, LookNetwork
from training.look.opponent import to_opponent
from training.look.palette import SIDE, palette_lut
from training.look.tone import measure

Match = float | Literal["auto"]
MIN_AUTO = 0.55  # match of scenes that have nothing in common
ALIKE = (0.1, 0.6)  # cosine of the scene vectors at which scenes begin to be alike, and are


@dataclass(frozen=True)
class GlobalLook:
    """What a pair calls for.

    Attributes:
        lut: N×3×17×17×17 in [0, 1], the whole mapping.
        match: N, 0 for the look alone, 1 for the palette alone.
    """

    lut: Tensor
    match: Tensor


class GlobalHeads:
    """Look and palette head together.

    Args:
        network: A trained look network.
    """

    def __init__(self, network: LookNetwork) -> None:
        self.network = network.eval()

    @classmethod
    def load(cls, path: Path) -> GlobalHeads:
        """Load the look network from a checkpoint; raises ValueError where it cannot be read."""
        return cls(load_look(path))

    @torch.no_grad()
    def __call__(self, content: Tensor, style: Tensor, match: Match = "auto") -> GlobalLook:
        """Decide on the LUT for N×3×H×W photos (sRGB in [0, 1], any size).

        Args:
            content: The photo to change, or a frame that stands for a shot.
            style: The photo to follow.
            match: 0 for the look, 1 for the palette, between them a mixture; ``auto`` to decide.
        """
        content, style = thumbnail(content), thumbnail(style)
        lut, here, there = self.network(content, style)
        look = resample(lut.clamp(0, 1), SIDE)
        share = auto_match(here, there) if match == "auto" else torch.full((len(content),), float(match))
        mixed = look + share.view(-1, 1, 1, 1, 1) * (palette_lut(content, style) - look)
        if match == "auto":
            mixed = lower_black(mixed, content, style)
        return GlobalLook(without_color(mixed, style), share)


def thumbnail(photo: Tensor) -> Tensor:
    """Shrink N×3×H×W photos of any shape to N×3×96×96 by averaging."""
    return F.interpolate(photo, size=(THUMBNAIL, THUMBNAIL), mode="area")


def auto_match(here: Tensor, there: Tensor) -> Tensor:
    """Return the match (N) for two scene vectors (N×32 of unit length)."""
    alike = (((here * there).sum(1) - ALIKE[0]) / (ALIKE[1] - ALIKE[0])).clamp(0, 1)
    return MIN_AUTO + (1 - MIN_AUTO) * alike


def lower_black(lut: Tensor, content: Tensor, style: Tensor) -> Tensor:
    """Re-level a LUT so that its black point does not exceed the mean of content's and style's."""
    blacks = [measure(to_opponent(x)[:, :1]).black for x in (content, style, apply_lut(lut, content))]
    excess = (blacks[2] - (blacks[0] + blacks[1]) / 2).clamp(min=0, max=0.5)
    scale = 1 + excess / (1 - blacks[2]).clamp(min=0.25)
    return (1 - (1 - lut) * scale.view(-1, 1, 1, 1, 1)).clamp(0, 1)


def without_color(lut: Tensor, style: Tensor) -> Tensor:
    """Take the chroma out of a LUT as far as the style (N×3×h×w) has none."""
    share = colorfulness(to_opponent(style.flatten(2))).view(-1, 1, 1, 1, 1)
    luma = to_opponent(lut)[:, :1]
    return luma + share * (lut - luma)
