"""Loss of a predicted look, and the random batches on which it is measured."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from training.look.color_statistics import hats
from training.look.data import crops
from training.look.gradings import GradingSampler, synthetic_grading
from training.look.lut import apply_lut
from training.look.network import SIDE, LookNetwork

UNGRADED = 0.75  # share of content photos that carry no grading, as camera footage
PSNR_FLOOR = 2e-4  # mean squared error below which a picture counts as solved (37 dB)
LOG_WEIGHT, CHROMA_WEIGHT, LUT_WEIGHT, BEND_WEIGHT, SCENE_WEIGHT = 0.05, 0.5, 0.5, 0.5, 0.05


@dataclass(frozen=True)
class Batch:
    """Thumbnails N×3×96×96 with the exact answer.

    Attributes:
        content: Photo P, graded or not.
        style: Another photo under grading L.
        truth: P under L.
        grading: L, N×3×17×17×17.
        shown: 2N, which thumbnails content and style were made of.
        ungraded: N, whether content carries no grading, so that L itself is the LUT to find.
    """

    content: Tensor
    style: Tensor
    truth: Tensor
    grading: Tensor
    shown: Tensor
    ungraded: Tensor


def draw_batch(thumbnails: Tensor, sampler: GradingSampler, count: int, generator: torch.Generator) -> Batch:
    """Draw a random batch; photos vary a little in exposure and white balance first."""
    photo, of_photo = crops(thumbnails, count, generator)
    other, of_other = crops(thumbnails, count, generator)
    photo, other = _vary(photo, generator), _vary(other, generator)
    grading, before = sampler.draw(count, generator), sampler.draw(count, generator)
    ungraded = torch.arange(count) < UNGRADED * count
    content = torch.where(ungraded.view(-1, 1, 1, 1), photo, apply_lut(before, photo))
    style = apply_lut(grading, other)
    style = (style + 0.008 * torch.randn(style.shape, generator=generator)).clamp(0, 1)
    shown = torch.cat([of_photo, of_other])
    return Batch(content, style, apply_lut(grading, photo), grading, shown, ungraded)


def look_loss(network: LookNetwork, batch: Batch, density: Tensor, scenes: Tensor) -> tuple[Tensor, Tensor]:
    """Return the loss and each picture's mean squared error (N).

    Args:
        network: The network to train.
        batch: What to train on.
        density: How common each color is in photos, 9×9×9; weights errors of the LUT.
        scenes: Scene vector of each thumbnail, K×`SCENE`; K is 0 to train without.
    """
    lut, *seen = network(batch.content, batch.style)
    difference = apply_lut(lut, batch.content[:, :, ::2, ::2]) - batch.truth[:, :, ::2, ::2]
    error = difference.square().mean((1, 2, 3))
    red, green, blue = difference.unbind(1)
    chroma = (red - green).abs().mean() + (blue - (red + green) / 2).abs().mean()
    of_lut = (lut - batch.grading[..., ::2, ::2, ::2])[batch.ungraded].abs()
    loss = difference.abs().mean() + LOG_WEIGHT * (error + PSNR_FLOOR).log().mean()
    loss = loss + CHROMA_WEIGHT * chroma + LUT_WEIGHT * (of_lut * density).mean()
    if len(scenes):
        loss = loss + SCENE_WEIGHT * (1 - (torch.cat(seen) * scenes[batch.shown]).sum(1)).mean()
    return loss + BEND_WEIGHT * _bend(lut), error.detach()


def color_density(thumbnails: Tensor) -> Tensor:
    """Return how common each color is in uint8 thumbnails, 9×9×9 indexed (b, g, r), softened, of mean 1."""
    pixels = thumbnails[::4, :, ::7, ::7].permute(1, 0, 2, 3).flatten(1).float() / 255
    red, green, blue = (hats(channel, SIDE) for channel in pixels)
    density = torch.einsum("pb,pg,pr->bgr", blue, green, red).sqrt()
    density = density / density.mean() + 0.1
    return density / density.mean()


def _bend(lut: Tensor) -> Tensor:
    """Return the mean square of the LUT's second differences: a bent LUT shows as banding."""
    axes = (lut.diff(n=2, dim=dim) for dim in (2, 3, 4))
    return torch.stack([axis.square().mean() for axis in axes]).sum()


def _vary(photo: Tensor, generator: torch.Generator) -> Tensor:
    """Grade a quarter of the photos weakly, as another camera would."""
    weak = synthetic_grading(len(photo), 9, generator, strength=0.3)
    some = torch.rand(len(photo), 1, 1, 1, generator=generator) < 0.25
    return torch.where(some, apply_lut(weak, photo), photo)
