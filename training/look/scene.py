"""What a photo shows, whatever its grading: targets for the encoder's scene vector, from VGG16's conv5_3.

The encoder of the look network learns to predict these from *graded* thumbnails, so that its features follow
what is shown, and so that the likeness of two scenes is known without VGG at run time.
"""

from __future__ import annotations

from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import Tensor

from training.look.data import STORED, stored_thumbnails
from training.look.network import SCENE, THUMBNAIL
from training.vgg import MEAN_RGB

BLOCKS = (("1_1", "1_2"), ("2_1", "2_2"), ("3_1", "3_2", "3_3"), ("4_1", "4_2", "4_3"), ("5_1", "5_2", "5_3"))
AT_ONCE = 16  # pictures


@torch.no_grad()
def pooled_vgg(thumbnails: Tensor, weights: Path) -> Tensor:
    """Return conv5_3 of VGG16 (Simonyan & Zisserman 2014), averaged over each picture, N×512.

    Args:
        thumbnails: uint8 N×3×h×w.
        weights: safetensors file with ``conv1_1.weight`` … ``conv5_3.bias``.
    """
    stored = {name: value.bfloat16() for name, value in load_file(weights).items()}
    mean = torch.tensor(MEAN_RGB).view(1, 3, 1, 1)
    pooled = []
    for part in torch.split(thumbnails, AT_ONCE):
        x = (part.float() - mean).bfloat16().contiguous(memory_format=torch.channels_last)
        for index, block in enumerate(BLOCKS):
            x = F.max_pool2d(x, 2) if index else x
            for name in block:
                x = F.relu(F.conv2d(x, stored[f"conv{name}.weight"], stored[f"conv{name}.bias"], padding=1))
        pooled.append(x.float().mean((2, 3)))
    return torch.cat(pooled)


def cached_scenes(photos: list[Path], weights: Path, checkpoint: Path) -> Tensor:
    """Return the targets of the photos' stored thumbnails; VGG's features are kept next to the checkpoint."""
    cache = checkpoint.with_suffix(".scenes.safetensors")
    if not cache.is_file():
        margin = (STORED - THUMBNAIL) // 2
        middles = stored_thumbnails(photos)[:, :, margin:-margin, margin:-margin]
        save_file({"pooled": pooled_vgg(middles, weights)}, cache)
    return scene_targets(load_file(cache)["pooled"])


def scene_targets(pooled: Tensor) -> Tensor:
    """Return the first `SCENE` principal components of standardized features, each row of unit length."""
    standard = (pooled - pooled.mean(0)) / (pooled.std(0) + 1e-6)
    _, _, axes = torch.linalg.svd(standard, full_matrices=False)
    return F.normalize(standard @ axes[:SCENE].T, dim=1)
