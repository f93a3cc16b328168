"""The tensors that a model takes and returns, in KServe's terms.

An image tensor ``x`` may also be sent or requested as ``x_jpeg``: BYTES, shape [1], one JPEG file. A
bilateral grid ``x`` may be requested as ``x_packed``: BYTES, shape [1], see `grid_codec`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mvstylizer.bundle import TensorSpec

JPEG, PACKED = "_jpeg", "_packed"
DATATYPES = {"uint8": "UINT8", "int32": "INT32", "float32": "FP32"}
"""KServe's name of each NumPy dtype."""

WireTensor = tuple[str, str, tuple[int, ...]]
"""Name, KServe datatype, shape with -1 for a free dimension."""


@dataclass(frozen=True)
class Contract:
    """A model's tensors.

    Attributes:
        inputs: Input tensors.
        outputs: Output tensors.
    """

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]

    def wire_inputs(self) -> list[WireTensor]:
        """Return every tensor that a request may carry, JPEG forms included."""
        return _wire(self.inputs)

    def wire_outputs(self) -> list[WireTensor]:
        """Return every tensor that a request may name as output, JPEG and packed forms included."""
        packed: list[WireTensor] = [
            (spec.name + PACKED, "BYTES", (1,)) for spec in self.outputs if _is_grid(spec)
        ]
        return _wire(self.outputs) + packed


def plain_name(output: str) -> str:
    """Return the model's own name of an output that was requested in any form."""
    return output.removesuffix(JPEG).removesuffix(PACKED)


def is_image(spec: TensorSpec) -> bool:
    """Return whether a tensor is an NHWC RGB image."""
    return spec.dtype == "uint8" and len(spec.shape) == 4 and spec.shape[3] == 3


def _is_grid(spec: TensorSpec) -> bool:
    return spec.dtype == "float32" and len(spec.shape) == 5 and spec.shape[4] == 12


def _wire(specs: Sequence[TensorSpec]) -> list[WireTensor]:
    rows = [(spec.name, DATATYPES[spec.dtype], spec.shape) for spec in specs]
    return rows + [(spec.name + JPEG, "BYTES", (1,)) for spec in specs if is_image(spec)]
