"""Verification lanes on this machine's CPU: the ways in which a phone may run a TFLite file.

``reference`` is the plain loops that define each operator, ``built-in operators`` what a phone runs without a
delegate, ``XNNPACK`` what it runs by default. The lane of the GPU is `export.runtimes.gpu`, that of Hexagon
`export.runtimes.hexagon`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import numpy as np
from ai_edge_litert.interpreter import Interpreter, OpResolverType

from export.runtimes.difference import Array
from mvstylizer.errors import MVStylizerError

CPU_LANES: Final = {
    "reference": OpResolverType.BUILTIN_REF,
    "built-in operators": OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
    "XNNPACK": OpResolverType.AUTO,
}


class LaneError(MVStylizerError):
    """A verification lane cannot run a file."""


def run_on_cpu(content: bytes, inputs: Mapping[str, Array], lane: str) -> list[Array]:
    """Run a TFLite file once and return its outputs in order.

    Args:
        content: The file.
        inputs: Values by tensor name; inputs are resized to their shapes.
        lane: A key of `CPU_LANES`.

    Raises:
        LaneError: The runtime rejects the file or its inputs.
    """
    try:
        interpreter = Interpreter(
            model_content=content, num_threads=1, experimental_op_resolver_type=CPU_LANES[lane]
        )
        details = {d["name"]: d for d in interpreter.get_input_details()}
        for name, value in inputs.items():
            if tuple(details[name]["shape"]) != value.shape:
                interpreter.resize_tensor_input(details[name]["index"], value.shape)
        interpreter.allocate_tensors()
        for name, value in inputs.items():
            interpreter.set_tensor(details[name]["index"], value)
        interpreter.invoke()
        return [interpreter.get_tensor(d["index"]) for d in interpreter.get_output_details()]
    except (RuntimeError, ValueError, KeyError) as err:
        raise LaneError(f"{lane} cannot run the file: {err}") from err


def flat(outputs: list[Array]) -> Array:
    """Return all outputs flattened and concatenated, as float64."""
    return np.concatenate([np.ravel(output).astype(np.float64) for output in outputs])
