"""Relative Gram distance: difference between the VGG16 textures of a result and of its style."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from safetensors.torch import load_file
from torch import Tensor

from mvstylizer.errors import MVStylizerError
from training.vgg import MEAN_RGB, WEIGHTS

LAYERS: Final = ("1_1", "1_2", "2_1", "2_2", "3_1", "3_2", "3_3", "4_1", "4_2", "4_3")
POOL_BEFORE: Final = ("2_1", "3_1", "4_1")
COMPARED: Final = ("1_2", "2_2", "3_3", "4_3")


class VggWeightsError(MVStylizerError):
    """A file of VGG16 weights cannot be read or lacks layers."""


class GramDistance:
    """Compares Gram matrices of VGG16's relu1_2, 2_2, 3_3 and 4_3.

    Args:
        weights: VGG16's convolutions as safetensors (``conv1_1.weight`` OIHW, ``conv1_1.bias``, …). The file
            bundled with the kit ends at conv4_1: relu4_3 is then omitted from `layers`.

    Raises:
        VggWeightsError: The file cannot be read, or ends before relu3_3.
    """

    def __init__(self, weights: Path | None = None) -> None:
        path = weights or WEIGHTS
        try:
            stored = load_file(path)
        except Exception as err:  # safetensors' error has no narrower base class
            raise VggWeightsError(f"Cannot read {path}: {err}", "Pass a safetensors file of VGG16") from err
        self._weights = {name: tensor.float() for name, tensor in stored.items()}
        held = [name for name in LAYERS if f"conv{name}.weight" in self._weights]
        self.layers = tuple(name for name in COMPARED if set(LAYERS[: LAYERS.index(name) + 1]) <= set(held))
        if len(self.layers) < 3:
            raise VggWeightsError(
                f"{path} contains {', '.join(held) or 'no layers'}", "Pass a file with conv1_1 to conv3_3"
            )

    def grams(self, picture: NDArray[np.uint8]) -> list[Tensor]:
        """Return the Gram matrix (C, C) of each layer, divided by the number of positions.

        Args:
            picture: uint8 RGB (H, W, 3).
        """
        x = torch.tensor(picture.astype(np.float32)).permute(2, 0, 1)[None]
        x = x - torch.tensor(MEAN_RGB).view(1, 3, 1, 1)
        found = []
        with torch.inference_mode():
            for name in LAYERS[: LAYERS.index(self.layers[-1]) + 1]:
                if name in POOL_BEFORE:
                    x = F.max_pool2d(x, 2)
                weight, bias = self._weights[f"conv{name}.weight"], self._weights[f"conv{name}.bias"]
                x = F.relu(F.conv2d(x, weight, bias, padding=1))
                if name in self.layers:
                    flat = x.flatten(2)[0]
                    found.append(flat @ flat.T / flat.shape[1])
        return found

    def __call__(self, result: list[Tensor], style: list[Tensor]) -> float:
        """Return the mean over layers of ``|G_result - G_style|_F / |G_style|_F``."""
        distances = [float((a - b).norm() / b.norm()) for a, b in zip(result, style, strict=True)]
        return float(np.mean(distances))
