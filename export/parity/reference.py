"""PyTorch's outputs for one checkpoint: what every exported file of the network is compared with."""

from __future__ import annotations

from collections.abc import Callable
from hashlib import sha256
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from export.adapter import adapted
from export.parity.test_images import Image
from training.look.heads import GlobalHeads, thumbnail
from training.stylizer import network_size, resize, style_size

Floats = NDArray[np.float32]


class Reference:
    """A stylizer that computes each output once, however many files are compared with it.

    Pictures are uint8 RGB (H, W, 3) of any size; the network's reduction of them is part of the reference.

    Args:
        stylizer: Any that keeps `export.protocol.Exportable`, in evaluation mode.
    """

    def __init__(self, stylizer: nn.Module) -> None:
        self.stylizer = adapted(stylizer)
        self._outputs: dict[tuple[Any, ...], Floats] = {}

    def style_code(self, style: Image) -> Floats:
        """Return the style code of a photo, float32 (1, K)."""

        def compute() -> Tensor:
            small = resize(_unit(style), style_size(style.shape[0], style.shape[1], self.stylizer.dims))
            return self.stylizer.encode_style(small)

        return self._once(("style", *_key(style)), compute)

    def grid(self, frame: Image, style_code: Floats) -> Floats:
        """Return the bilateral grid of a frame, float32 (1, rows, columns, bins, 12)."""

        def compute() -> Tensor:
            small = resize(_unit(frame), network_size(frame.shape[0], frame.shape[1], self.stylizer.dims))
            grid = self.stylizer.grid(small, torch.from_numpy(style_code))
            return grid.permute(0, 3, 4, 1, 2)

        return self._once(("map", *_key(frame), *_key(style_code)), compute)

    def thumb(self, picture: Image) -> Floats:
        """Return the thumbnail of a picture, float32 (1, 96, 96, 3)."""
        return self._once(("thumb", *_key(picture)), lambda: thumbnail(_unit(picture)).permute(0, 2, 3, 1))

    def global_code(self, thumb: Floats) -> Floats:
        """Return the global part of the style code of a thumbnail, float32 (1, `GLOBAL_CODE`)."""
        return self._once(("code", *_key(thumb)), lambda: self._heads().encode_style(_planar(thumb)))

    def lut(self, thumb: Floats, code: Floats) -> Floats:
        """Return the LUT for a content thumbnail and a style's global code, float32 (1, S, S, S, 3)."""

        def compute() -> Tensor:
            look = self._heads().decide(_planar(thumb), torch.from_numpy(code))
            return look.lut.permute(0, 2, 3, 4, 1)

        return self._once(("lut", *_key(thumb), *_key(code)), compute)

    @torch.no_grad()
    def stylized(self, frame: Image, style_code: Floats, r: float) -> NDArray[np.float64]:
        """Return the stylized frame in whole gray levels, float64 (1, round(r·H), round(r·W), 3)."""
        grid = torch.from_numpy(self.grid(frame, style_code)).permute(0, 3, 4, 1, 2)
        image = torch.from_numpy(self._image(frame, style_code)) if self.stylizer.kind == "image" else None
        # The exported file receives r as float32, and r decides the output size.
        stylized = self.stylizer.render(_unit(frame), image, grid, float(np.float32(r)))
        gray: NDArray[np.float64] = (stylized * 255).round().permute(0, 2, 3, 1).double().numpy()
        return gray

    def _image(self, frame: Image, style_code: Floats) -> Floats:
        """Return the stylized frame at the network's size, of a stylizer of that kind."""

        def compute() -> Tensor:
            small = resize(_unit(frame), network_size(frame.shape[0], frame.shape[1], self.stylizer.dims))
            image, _ = self.stylizer.outputs(small, torch.from_numpy(style_code))
            assert image is not None
            return image

        return self._once(("image", *_key(frame), *_key(style_code)), compute)

    def _heads(self) -> GlobalHeads:
        assert self.stylizer.heads is not None, "only the lite stylizer has TFLite files"
        return self.stylizer.heads

    @torch.no_grad()
    def _once(self, key: tuple[Any, ...], compute: Callable[[], Tensor]) -> Floats:
        if key not in self._outputs:
            self._outputs[key] = np.ascontiguousarray(compute().numpy())
        return self._outputs[key]


def _unit(picture: Image) -> Tensor:
    return torch.from_numpy(picture.astype(np.float32) / 255).permute(2, 0, 1).unsqueeze(0)


def _planar(thumb: Floats) -> Tensor:
    return torch.from_numpy(thumb).permute(0, 3, 1, 2)


def _key(values: NDArray[Any]) -> tuple[tuple[int, ...], bytes]:
    return values.shape, sha256(values.tobytes()).digest()
