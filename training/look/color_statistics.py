"""Color statistics of a thumbnail: tone histograms, a joint histogram, moments, and colors by region.

Thumbnails are N×3×h×w float32 sRGB in [0, 1].
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

TONES = 17  # knots of each channel's soft histogram
BINS = 6  # knots of the joint soft histogram along each axis
LUMAS = 5  # luma bands in which mean chroma is measured
STATISTICS = 4 * TONES + BINS**3 + 4 * LUMAS + 11
LUMA = (0.299, 0.587, 0.114)


def color_statistics(image: Tensor) -> Tensor:
    """Return the statistics of each image, N×`STATISTICS`; all are about unit size."""
    pixels = image[:, :, 1::3, 1::3].flatten(2)  # a ninth of the pixels is enough
    luma = (pixels * torch.tensor(LUMA, device=pixels.device).view(1, 3, 1)).sum(1, keepdim=True)
    tones = hats(torch.cat([pixels, luma], dim=1), TONES).mean(2).flatten(1)
    parts = [
        (tones + 1e-4).sqrt() * 2,
        joint_histogram(pixels),
        chroma_by_luma(pixels, luma),
        _moments(pixels),
    ]
    return torch.cat(parts, dim=1)


def hats(values: Tensor, knots: int) -> Tensor:
    """Return the weight of each value at `knots` equally spaced knots of [0, 1], as a last axis."""
    at = torch.arange(knots, device=values.device, dtype=values.dtype)
    return (1 - (values.unsqueeze(-1) * (knots - 1) - at).abs()).clamp(min=0)


def joint_histogram(pixels: Tensor) -> Tensor:
    """Return the square root of the soft `BINS`³ histogram of N×3×P pixels, N×`BINS`³."""
    weights = hats(pixels, BINS)
    red, green, blue = weights[:, 0], weights[:, 1], weights[:, 2]
    pairs = (red.unsqueeze(3) * green.unsqueeze(2)).flatten(2)
    joint = pairs.transpose(1, 2) @ blue / pixels.shape[2]
    return 4 * (joint + 1e-6).sqrt().flatten(1)


def chroma_by_luma(pixels: Tensor, luma: Tensor) -> Tensor:
    """Return the share of each luma band and the mean R-Y, G-Y, B-Y in it, N×4·`LUMAS`."""
    weights = hats(luma.squeeze(1), LUMAS)
    total = weights.sum(1)
    chroma = (pixels - luma) @ weights / (total + 0.01 * pixels.shape[2]).unsqueeze(1)
    return torch.cat([2 * total / pixels.shape[2], 8 * chroma.flatten(1)], dim=1)


def region_colors(image: Tensor, shares: Tensor) -> Tensor:
    """Return the area, mean color and color deviation of soft regions.

    Args:
        image: N×3×h×w thumbnail.
        shares: N×R×k×k, how much of each cell belongs to each region; sums to 1 over R.

    Returns:
        N×7R: area, mean RGB (shrunk to mid-gray for small regions), RGB deviation.
    """
    stride = image.shape[-1] // shares.shape[-1]
    colors = F.avg_pool2d(torch.cat([image - 0.5, (image - 0.5).square()], dim=1), stride).flatten(2)
    weights = shares.flatten(2)
    total = weights.sum(2, keepdim=True)
    moments = weights @ colors.transpose(1, 2) / (total + 0.5)
    mean, square = moments[:, :, :3], moments[:, :, 3:]
    deviation = ((square - mean.square()).clamp(min=0) + 1e-4).sqrt()
    area = 4 * total.squeeze(2) / weights.shape[2]
    return torch.cat([area, 3 * mean.flatten(1), 4 * deviation.flatten(1)], dim=1)


def _moments(pixels: Tensor) -> Tensor:
    mean = pixels.mean(2, keepdim=True)
    centered = pixels - mean
    covariance = centered @ centered.transpose(1, 2) / pixels.shape[2]
    upper = torch.stack([covariance[:, i, j] for i in range(3) for j in range(i, 3)], dim=1)
    saturation = pixels.amax(1) - pixels.amin(1)
    spread = torch.stack([saturation.mean(1), saturation.square().mean(1)], dim=1)
    return torch.cat([3 * (mean.squeeze(2) - 0.5), 15 * upper, 3 * spread], dim=1)
