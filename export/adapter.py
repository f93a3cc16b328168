"""The kit's finish around a stylizer of any kind: a bilateral grid, and an image of any size.

Writers and checks see only this class, whether the stylizer is the kit's own or a user's.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from export.protocol import BINS, RIDGE, Kind
from training.global_mapping import GlobalMapping
from training.grid import apply_grid, fit_grid
from training.local_linear import solve, terms
from training.look.heads import GlobalHeads, thumbnail
from training.options import StylizerDims
from training.smoothing import scaled_size
from training.stylizer import StylizerNetwork, resize


class _AffineMapping:
    """The affine map that fits a whole picture best: towards it the fit of an image's grid is regularized."""

    def __init__(self, content: Tensor, stylized: Tensor, ridge: float) -> None:
        moments = terms(content, stylized).mean((2, 3), keepdim=True)
        self._map = solve(moments, _identity, ridge).view(-1, 3, 4)

    def __call__(self, colors: Tensor) -> Tensor:
        """Map N×3×h×w colors."""
        mapped = self._map[:, :, :3] @ colors.flatten(2) + self._map[:, :, 3:]
        return mapped.view_as(colors)

    def gain(self, colors: Tensor) -> Tensor:
        """Return the map's matrix at N×3×h×w colors, N×3×3×h×w."""
        height, width = colors.shape[2:]
        return self._map[:, :, :3].view(-1, 3, 3, 1, 1).expand(len(colors), 3, 3, height, width)


def _identity(colors: Tensor) -> Tensor:
    height, width = colors.shape[2:]
    return torch.eye(3).view(1, 3, 3, 1, 1).expand(len(colors), 3, 3, height, width)


class Adapter(nn.Module):
    """A stylizer with the kit's finish.

    Args:
        module: Keeps `export.protocol.Exportable`; see `export.module` for the check.
        name: Name of the bundle.

    Attributes:
        dims: Pixel budgets, cell, bins and ridge.
        kind: The stylizer's kind.
    """

    def __init__(self, module: nn.Module, name: str) -> None:
        super().__init__()
        self.module = module
        self.name = name
        self.kind: Kind = _of(module, "kind")
        self.style_code_size: int = _of(module, "style_code_size")
        self.takes_thumbnail = bool(getattr(module, "takes_thumbnail", False))
        if isinstance(module, StylizerNetwork):
            self.dims = module.dims
        else:
            self.dims = StylizerDims(
                network_pixels=_of(module, "network_pixels"),
                style_pixels=_of(module, "style_pixels"),
                map_cell=_of(module, "cell"),
                bins=1 if self.kind == "affine" else getattr(module, "bins", BINS),
                ridge=getattr(module, "ridge", RIDGE),
            )

    @property
    def heads(self) -> GlobalHeads | None:
        """The heads that phones get as TFLite: those of the kit's lite stylizer."""
        own = self.module
        return own.heads if isinstance(own, StylizerNetwork) and own.local is None else None

    @property
    def has_match(self) -> bool:
        """Whether the first value of a style code is the match (`mvstylizer.stylizer.Match`)."""
        return isinstance(self.module, StylizerNetwork)

    def set_ridge(self, ridge: float) -> None:
        """Replace the regularization of the fit."""
        self.dims = replace(self.dims, ridge=ridge)
        if isinstance(self.module, StylizerNetwork):
            self.module.dims = self.dims

    def row(self, precision: str) -> dict[str, Any]:
        """Return the manifest's row of the network."""
        dims = self.dims.as_dict()
        if not self.has_match:
            fitted = ("ridge",) if self.kind in ("image", "lut") else ()
            dims = {key: dims[key] for key in ("network_pixels", "style_pixels", "map_cell", "bins", *fitted)}
            dims |= {"kind": self.kind, "match": False}
        return {**dims, "style_code": self.style_code_size, "precision": precision}

    def encode_style(self, style: Tensor, thumb: Tensor | None = None) -> Tensor:
        """Return the style code, N×K, of reduced style photos, N×3×h×w, and their thumbnails."""
        code: Tensor = self.module.encode_style(style, *self._thumb(style, thumb))  # type: ignore[operator]
        return code

    def outputs(
        self, content: Tensor, code: Tensor, thumb: Tensor | None = None
    ) -> tuple[Tensor | None, Tensor]:
        """Return the image at the network's size, if there is one, and N×bins×12×rows×columns, the grid."""
        predicted: Tensor = self.module.predict(content, code, *self._thumb(content, thumb))  # type: ignore[operator]
        if self.kind == "image":
            image = predicted.clamp(0, 1)
            around = _AffineMapping(content, image, self.dims.ridge)
            return image, self._fitted(content, image, around)
        if self.kind == "lut":
            mapping = GlobalMapping(predicted.clamp(0, 1), torch.ones_like(code[:, :1]))
            return None, self._fitted(content, mapping(content), mapping)
        return None, predicted.unsqueeze(1) if self.kind == "affine" else predicted

    def grid(self, content: Tensor, code: Tensor, thumb: Tensor | None = None) -> Tensor:
        """Return the grid of content at the network's size; see `outputs`."""
        return self.outputs(content, code, thumb)[1]

    def render(self, frame: Tensor, image: Tensor | None, grid: Tensor, r: float) -> Tensor:
        """Return the stylized frame, N×3×round(r·H)×round(r·W), from `outputs` of the reduced one."""
        size = scaled_size(frame.shape[2], frame.shape[3], r)
        if image is not None:
            return resize(image, size).clamp(0, 1)
        return apply_grid(grid, resize(frame, size))

    def _thumb(self, picture: Tensor, thumb: Tensor | None) -> tuple[Tensor, ...]:
        if not self.takes_thumbnail:
            return ()
        return (thumbnail(picture) if thumb is None else thumb,)

    def _fitted(self, content: Tensor, stylized: Tensor, mapping: _AffineMapping | GlobalMapping) -> Tensor:
        dims = self.dims
        return fit_grid(content, stylized, mapping, mapping.gain, dims.map_cell, dims.bins, dims.ridge)


def adapted(stylizer: nn.Module) -> Adapter:
    """Return a stylizer with the kit's finish; one that has it already is returned as it is."""
    if isinstance(stylizer, Adapter):
        return stylizer
    name = stylizer.dims.variant if isinstance(stylizer, StylizerNetwork) else type(stylizer).__name__
    return Adapter(stylizer, name)


def _of(module: nn.Module, member: str) -> Any:
    return getattr(module, member)
