"""The look network: which grading does the style photo carry, and what would it do to the content?

Two thumbnails → two codes → weights of a basis of LUTs and an affine part → one global LUT. The form
follows image-adaptive 3D LUTs (Zeng et al., TPAMI 2020); estimating one mapping from both pictures follows
Neural Preset (Ke et al., CVPR 2023). A smooth global mapping cannot tint patches or flicker within a shot.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from training.look.color_statistics import STATISTICS, color_statistics, region_colors
from training.look.lut import identity_lut
from training.vgg import mixed_precision

THUMBNAIL = 96  # pixels along each side of a thumbnail
SIDE = 9  # nodes of the LUT along each axis
BASIS = 28
CODE = 128
POOLED = 192  # units between the pooled features and the code
HIDDEN = 160
SCENE = 32  # numbers that describe what a thumbnail shows
REGIONS = 16  # soft regions whose colors are pooled: sky, foliage, skin, or whatever else training finds
WIDTHS = (32, 64, 96)  # channels at 1/4, 1/8 and 1/16 of the thumbnail


class ThumbnailEncoder(nn.Module):
    """Describes a thumbnail by a code; content and style share it.

    A convolutional trunk recognizes what is shown. It sees the thumbnail twice: as it is, and with mean and
    contrast normalized, which undoes much of the grading. Its soft regions tell what each color belongs to,
    global statistics tell how the picture is graded overall.

    Attributes:
        mixed: Run the trunk in bfloat16, for training on a CPU with AVX-512 BF16.
    """

    def __init__(self) -> None:
        super().__init__()
        self.mixed = False
        a, b, c = WIDTHS
        self.stem = nn.Conv2d(6, a, 4, 4)
        self.local = nn.Conv2d(a, a, 3, 1, 1)
        self.down1 = nn.Conv2d(a, b, 3, 2, 1)
        self.mix1 = nn.Conv2d(b, b, 3, 1, 1)
        self.regions = nn.Conv2d(b, REGIONS, 1)
        self.down2 = nn.Conv2d(b, c, 3, 2, 1)
        self.mix2 = nn.Conv2d(c, c, 3, 1, 1)
        self.back = nn.Conv2d(c, b, 1)
        self.scene = nn.Linear(c, SCENE)
        self.project = nn.Linear(STATISTICS + 2 * c + 7 * REGIONS, POOLED)
        self.refine = nn.Linear(POOLED, CODE)

    def forward(self, thumbnail: Tensor) -> tuple[Tensor, Tensor]:
        """Return code (N×`CODE`) and scene vector (N×`SCENE`, unit length) of N×3×96×96 thumbnails."""
        with mixed_precision(thumbnail, self.mixed):
            fine, deep = (x.float() for x in self._trunk(thumbnail))
        shares = torch.softmax(self.regions(fine), dim=1)
        pooled = deep.mean((2, 3))
        parts = [
            color_statistics(thumbnail),
            pooled,
            (deep.square().mean((2, 3)) + 1e-4).sqrt(),
            region_colors(thumbnail, shares),
        ]
        code: Tensor = self.refine(F.relu(self.project(torch.cat(parts, dim=1))))
        return code, F.normalize(self.scene(pooled), dim=1)

    def _trunk(self, thumbnail: Tensor) -> tuple[Tensor, Tensor]:
        mean = thumbnail.mean((2, 3), keepdim=True)
        spread = ((thumbnail - mean).square().mean((2, 3), keepdim=True) + 0.0025).sqrt()
        x = F.relu(self.stem(torch.cat([thumbnail * 2 - 1, (thumbnail - mean) / spread], dim=1)))
        x = x + F.relu(self.local(x))
        fine = F.relu(self.down1(x))
        fine = fine + F.relu(self.mix1(fine))
        deep = F.relu(self.down2(fine))
        deep = deep + F.relu(self.mix2(deep))
        return fine + F.interpolate(self.back(deep), size=fine.shape[2:]), deep


class LookNetwork(nn.Module):
    """Predicts the LUT that gives a content photo the look of a style photo.

    The weights are h(content, style) - h(content, content), so content as its own style stays unchanged.
    """

    def __init__(self) -> None:
        super().__init__()
        self.encoder = ThumbnailEncoder()
        self.enter = nn.Linear(2 * CODE, HIDDEN)
        self.middle = nn.Linear(HIDDEN, HIDDEN)
        self.leave = nn.Linear(HIDDEN, BASIS + 12)
        nn.init.normal_(self.leave.weight, std=2e-3)
        self.basis = nn.Parameter(0.05 * torch.randn(BASIS, 3, SIDE, SIDE, SIDE))
        self.register_buffer("identity", identity_lut(SIDE), persistent=False)

    def forward(self, content: Tensor, style: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return what two N×3×96×96 thumbnails call for.

        Returns:
            The LUT, N×3×9×9×9, not clamped, and the scene vectors of content and style, N×`SCENE`.
        """
        codes, scenes = self.encoder(torch.cat([content, style]))
        return (self.lut(*codes.chunk(2)), *scenes.chunk(2))

    def lut(self, content: Tensor, style: Tensor) -> Tensor:
        """Return the LUT for two codes (N×`CODE`) of the encoder."""
        weights = self._weights(content, style) - self._weights(content, content)
        identity = self.get_buffer("identity")
        affine = weights[:, BASIS:].view(-1, 3, 4)
        linear = (affine[:, :, :3] @ identity.flatten(1)).view(-1, *identity.shape)
        offset = affine[:, :, 3].reshape(-1, 3, 1, 1, 1)
        bent = (weights[:, :BASIS] @ self.basis.flatten(1)).view_as(linear)
        return identity + linear + offset + bent

    def _weights(self, content: Tensor, style: Tensor) -> Tensor:
        hidden = F.relu(self.enter(torch.cat([content, style], dim=1)))
        hidden = hidden + F.relu(self.middle(hidden))
        weights: Tensor = self.leave(hidden)
        return weights
