"""One run of a kernel, with what it must give."""

from __future__ import annotations

from typing import Any, NamedTuple

from numpy.typing import NDArray

Array = NDArray[Any]


class Case(NamedTuple):
    """One run of a kernel.

    Attributes:
        name: What is special about it.
        inputs: Tensors by name; a kernel of no static size is resized to their shapes.
        expected: All outputs in order, flattened, real-valued (not rounded), float64.
    """

    name: str
    inputs: dict[str, Array]
    expected: Array
