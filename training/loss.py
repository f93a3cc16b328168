"""Eq. 5: L = D(R_r(I_c), I_cs) + lambda·D(R_r(I_s), I_cs), and terms that keep the result photographic.

D is the perceptual distance of Johnson et al. (2016): the feature loss for the content image and the Gram
loss for the style image. (The paper writes one D for both, but a feature loss against an unrelated style
image would reproduce its objects.) Both are relative, |a - b| / |b|, so that a layer's weight does not depend
on its size.

All images are N×3×H×W float32 RGB in [0, 1]; every loss is a mean over the batch.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from training.vgg import VggEncoder, gram

CONTENT_LAYER = "3_1"
STYLE_LAYERS = ("1_2", "2_2", "3_3", "4_1")
LUMA = (0.299, 0.587, 0.114)
CONTRAST_SIDES = (7, 25)  # pixels of the windows in which local contrast is measured
KEPT_CONTRAST = 0.97
NEUTRAL = 0.06  # distance from gray at which a color stops counting as neutral


class Perceptual(NamedTuple):
    """The two parts of Eq. 5, before lambda."""

    content: Tensor
    style: Tensor


def perceptual(encoder: VggEncoder, content: Tensor, style: Tensor, output: Tensor) -> Perceptual:
    """Return the content and style losses of Eq. 5 for `output`.

    The style image may have any size, since Gram matrices are means over positions. The content image must
    have the size of the output and should have the style's global colors: a feature loss against the
    original would penalize the intended change of light.
    """
    wanted = (*STYLE_LAYERS, CONTENT_LAYER)
    out = encoder(output, wanted)
    with torch.no_grad():
        of_style = encoder(style, STYLE_LAYERS)
        of_content = encoder(content, (CONTENT_LAYER,))
    return Perceptual(
        content_distance(out[CONTENT_LAYER], of_content[CONTENT_LAYER]),
        torch.stack([gram_distance(out[k], of_style[k]) for k in STYLE_LAYERS]).mean(),
    )


def content_distance(output: Tensor, content: Tensor) -> Tensor:
    """Return |F(output) - F(content)|_F / |F(content)|_F."""
    return _relative(output.float(), content.float())


def gram_distance(output: Tensor, style: Tensor) -> Tensor:
    """Return |G(output) - G(style)|_F / |G(style)|_F."""
    return _relative(gram(output), gram(style))


def structure_loss(output: Tensor, content: Tensor) -> Tensor:
    """Return 1 - SSIM of the Sobel magnitude of luma, divided by its mean to ignore contrast and color."""
    a, b = _edges(output), _edges(content)
    ma, mb = _gauss(a), _gauss(b)
    va, vb = _gauss(a * a) - ma * ma, _gauss(b * b) - mb * mb
    covariance = _gauss(a * b) - ma * mb
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    ssim = (2 * ma * mb + c1) * (2 * covariance + c2) / ((ma**2 + mb**2 + c1) * (va + vb + c2))
    return 1 - ssim.mean()


def grid_roughness(grid: Tensor) -> Tensor:
    """Return the mean squared difference between adjacent cells of a grid, N×bins×12×rows×columns."""
    differences = grid.diff(dim=3), grid.diff(dim=4)
    return torch.stack([each.square().sum() / max(1, each.numel()) for each in differences]).sum()


def contrast_loss(output: Tensor, graded: Tensor) -> Tensor:
    """Return how much less local contrast of luma `output` has than the globally graded content: haze."""
    losses = []
    for side in CONTRAST_SIDES:
        have, wanted = (_deviation(_luma(image), side) for image in (output, graded))
        losses.append((KEPT_CONTRAST * wanted - have).clamp(min=0).mean() / wanted.mean().clamp(min=1e-3))
    return torch.stack(losses).mean()


def tint_loss(output: Tensor, graded: Tensor) -> Tensor:
    """Return how far chroma drifts from the global grade, with more weight where that is neutral."""
    here, there = graded - _luma(graded), output - _luma(output)
    neutral = torch.exp(-here.square().sum(1, keepdim=True) / NEUTRAL**2)
    return ((0.2 + neutral) * (there - here).abs()).mean()


def _relative(a: Tensor, b: Tensor) -> Tensor:
    size = b.flatten(1).square().sum(dim=1).sqrt()
    distance = ((a - b).flatten(1).square().sum(dim=1) + 1e-12).sqrt()
    return (distance / (size + 1e-6)).mean()


def _luma(image: Tensor) -> Tensor:
    return LUMA[0] * image[:, 0:1] + LUMA[1] * image[:, 1:2] + LUMA[2] * image[:, 2:3]


def _deviation(luma: Tensor, side: int) -> Tensor:
    mean = F.avg_pool2d(luma, side, side // 2)
    return ((F.avg_pool2d(luma * luma, side, side // 2) - mean * mean).clamp(min=0) + 1e-5).sqrt()


def _edges(image: Tensor) -> Tensor:
    p = F.pad(_luma(image) * 255, (1, 1, 1, 1), mode="reflect")
    column = p[:, :, :-2] + 2 * p[:, :, 1:-1] + p[:, :, 2:]
    row = p[:, :, :, :-2] + 2 * p[:, :, :, 1:-1] + p[:, :, :, 2:]
    gx, gy = column[:, :, :, 2:] - column[:, :, :, :-2], row[:, :, 2:] - row[:, :, :-2]
    magnitude = (gx * gx + gy * gy + 1e-3).sqrt()
    return 40 * magnitude / (magnitude.mean(dim=(2, 3), keepdim=True) + 1e-6)


def _gauss(x: Tensor) -> Tensor:
    """Apply an 11×11 Gaussian of sigma 1.5, valid region (Wang et al. 2004), in two passes."""
    t = torch.arange(11, dtype=x.dtype, device=x.device) - 5
    w = torch.exp(-(t**2) / (2 * 1.5**2))
    w = w / w.sum()
    return F.conv2d(F.conv2d(x, w.view(1, 1, 11, 1)), w.view(1, 1, 1, 11))
