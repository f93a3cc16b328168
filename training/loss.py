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


def map_roughness(affine_map: Tensor) -> Tensor:
    """Return the mean squared difference between adjacent cells of an N×12×gh×gw map (as in HDRNet)."""
    down = affine_map[:, :, 1:] - affine_map[:, :, :-1]
    right = affine_map[:, :, :, 1:] - affine_map[:, :, :, :-1]
    return down.square().mean() + right.square().mean()


def _relative(a: Tensor, b: Tensor) -> Tensor:
    size = b.flatten(1).square().sum(dim=1).sqrt()
    distance = ((a - b).flatten(1).square().sum(dim=1) + 1e-12).sqrt()
    return (distance / (size + 1e-6)).mean()


def _edges(image: Tensor) -> Tensor:
    luma: Tensor = LUMA[0] * image[:, 0:1] + LUMA[1] * image[:, 1:2] + LUMA[2] * image[:, 2:3]
    p = F.pad(luma * 255, (1, 1, 1, 1), mode="reflect")
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
