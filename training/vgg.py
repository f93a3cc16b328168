"""The frozen VGG16 encoder (Simonyan & Zisserman 2014), from conv1_1 to relu4_1.

Images are N×3×H×W float32 RGB in [0, 1]; the encoder applies VGG's own scale (0..255 minus the ImageNet
mean). Features are divided by one constant per layer (`FEATURE_SCALE`), so that each layer has about unit RMS
on photos. The divisors are folded into the weights, since ReLU and pooling commute with them. The
convolutions are padded with zeros.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor, nn

WEIGHTS = Path(__file__).parent / "weights" / "vgg16_relu4_1.fp16.safetensors"
MEAN_RGB = (123.68, 116.779, 103.939)  # ImageNet mean, gray levels

# Convolutions in order; a pool precedes each of POOL_BEFORE.
CHANNELS = {
    "1_1": (3, 64),
    "1_2": (64, 64),
    "2_1": (64, 128),
    "2_2": (128, 128),
    "3_1": (128, 256),
    "3_2": (256, 256),
    "3_3": (256, 256),
    "4_1": (256, 512),
}
POOL_BEFORE = ("2_1", "3_1", "4_1")

# RMS of each layer's activations, measured on 47 natural photos.
FEATURE_SCALE = {
    "1_1": 46.9,
    "1_2": 206.5,
    "2_1": 304.6,
    "2_2": 427.8,
    "3_1": 487.2,
    "3_2": 500.4,
    "3_3": 428.2,
    "4_1": 325.2,
}


class VggEncoder(nn.Module):
    """VGG16 up to `last`, frozen.

    Args:
        last: Name of the last layer, ``1_1`` … ``4_1``.
        mixed: Run the convolutions in bfloat16, on a GPU or a CPU with AVX-512 BF16.

    The weights are buffers outside the state dict, so checkpoints do not contain them.
    """

    def __init__(self, last: str = "4_1", *, mixed: bool = False) -> None:
        super().__init__()
        self.mixed = mixed
        names = list(CHANNELS)
        self.layers = tuple(names[: names.index(last) + 1])
        stored = load_file(WEIGHTS)
        scale_before = 1.0
        for name in self.layers:
            scale = FEATURE_SCALE[name]
            weight = stored[f"conv{name}.weight"].float() * (scale_before / scale)
            self.register_buffer(f"weight_{name}", weight, persistent=False)
            self.register_buffer(f"bias_{name}", stored[f"conv{name}.bias"].float() / scale, persistent=False)
            scale_before = scale
        mean = torch.tensor(MEAN_RGB).view(1, 3, 1, 1)
        self.register_buffer("mean", mean, persistent=False)

    def forward(self, image: Tensor, wanted: Sequence[str]) -> dict[str, Tensor]:
        """Encode `image` (N×3×H×W, RGB in [0, 1]) and return the `wanted` layers after their ReLU, scaled.

        Layer k_j has size H/2^(k-1) × W/2^(k-1), rounded down; float32, or bfloat16 with `mixed`.
        """
        x = image * 255 - self.get_buffer("mean")
        if self.mixed:
            x = x.contiguous(memory_format=torch.channels_last)  # three times as fast in bfloat16 on a CPU
        with mixed_precision(x, self.mixed):
            return self._run(x, wanted)

    def _run(self, x: Tensor, wanted: Sequence[str]) -> dict[str, Tensor]:
        features: dict[str, Tensor] = {}
        for name in self.layers:
            if name in POOL_BEFORE:
                x = F.max_pool2d(x, 2)
            x = F.relu(
                F.conv2d(x, self.get_buffer(f"weight_{name}"), self.get_buffer(f"bias_{name}"), padding=1)
            )
            if name in wanted:
                features[name] = x
            if len(features) == len(wanted):
                break
        return features


def mixed_precision(like: Tensor, enabled: bool) -> AbstractContextManager[object]:
    """Return a bfloat16 autocast for the device of `like`, or a context that does nothing."""
    return torch.autocast(like.device.type, dtype=torch.bfloat16) if enabled else nullcontext()


def gram(feature: Tensor) -> Tensor:
    """Return the Gram matrix N×C×C of an N×C×H×W feature map, divided by H·W (Johnson et al. 2016, Eq. 3)."""
    flat = feature.flatten(2)
    return (flat @ flat.transpose(1, 2)).float() / flat.shape[2]
