"""What a stylizer needs so that the kit can export it: six members of a ``torch.nn.Module``.

Images are N×3×h×w float32 RGB in [0, 1]; the kit reduces them to the pixel budgets, so a network never sees
a full-size frame. What `Exportable.predict` returns depends on the kind:

    kind    predict(content N×3×h×w, code N×K) →     what the kit makes of it
    image   N×3×h×w, the stylized content            resized for the image; a bilateral grid is fitted to it
    affine  N×12×h/cell×w/cell, rows of [A | b]      a grid of one bin
    grid    N×bins×12×h/cell×w/cell                  the grid itself
    lut     N×3×S×S×S, indexed (blue, green, red)    a grid that reads it trilinearly, moved without flow

Example:
    from export.module import load_stylizer

    stylizer = load_stylizer("mystyle.model:build", Path("weights.safetensors"))
"""

from __future__ import annotations

from typing import Final, Literal, Protocol, get_args, runtime_checkable

from torch import Tensor

Kind = Literal["image", "affine", "grid", "lut"]
KINDS: Final = get_args(Kind)

BINS: Final = 6
"""Bins of luma of the grid, where a stylizer of another kind than ``affine`` has no member ``bins``."""
RIDGE: Final = 1e-3
"""Regularization of a fitted grid, where a stylizer has no member ``ridge``: a variance in the unit range."""


@runtime_checkable
class Exportable(Protocol):
    """A ``torch.nn.Module`` with these members can be exported.

    Optional members: ``bins`` (`BINS`), ``ridge`` (`RIDGE`), ``takes_thumbnail`` (both methods get the
    picture's 96×96 thumbnail, means of equal areas, as a last argument).

    Attributes:
        kind: What `predict` returns; see above.
        style_code_size: K, the length of a style code.
        network_pixels: Pixel budget of the content: larger frames are reduced to it.
        style_pixels: Pixel budget of the style photo.
        cell: The content's sides are multiples of it, an even number; also the side of a cell of the grid.
    """

    kind: Kind
    style_code_size: int
    network_pixels: int
    style_pixels: int
    cell: int

    def encode_style(self, style: Tensor) -> Tensor:
        """Return the style code, N×K, of style photos, N×3×h×w, of any size of at least 16×16."""
        ...

    def predict(self, content: Tensor, code: Tensor) -> Tensor:
        """Return what `kind` says, finite, for content of any size in whole cells, at least two each way."""
        ...
