"""Each TFLite kernel against its formula in float64 NumPy, on inputs that reach its corners.

Every case of `export.kernel_cases` runs with XNNPACK and with the runtime's own operators, since a phone may
have only the latter.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
from ai_edge_litert.interpreter import Interpreter, OpResolverType

from export.kernel_cases import Array, Case, key_frame_cases, transfer_cases, warp_cases
from export.kernels.key_frame import KEY_FRAME_INPUTS, KEY_FRAME_OUTPUTS, build_key_frame
from export.kernels.transfer import TRANSFER_INPUTS, TRANSFER_OUTPUTS, build_transfer
from export.kernels.warp import WARP_INPUTS, WARP_OUTPUTS, build_warp
from export.manifest import TensorSpec
from mvstylizer_errors import MVStylizerError

# A uint8 result may differ from the real-valued one by its rounding and little more.
GREY_TOLERANCE = 0.51
FEATURE_TOLERANCE = 1e-5
_LANES = {
    "XNNPACK": OpResolverType.AUTO,
    "built-in operators": OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
}


class ParityError(MVStylizerError):
    """A built kernel does not compute its formula."""


class Kernel(NamedTuple):
    """What a bundle needs of a kernel; `KERNELS` has one per role.

    Attributes:
        build: Returns the file's content.
        check: Takes it, raises `ParityError`, returns the manifest's parity row.
        inputs: The manifest's rows of the inputs.
        outputs: The manifest's rows of the outputs.
    """

    build: Callable[[], bytes]
    check: Callable[[bytes], dict[str, Any]]
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]


def check_warp(content: bytes) -> dict[str, Any]:
    """Compare ``warp.tflite`` with bilinear sampling in float64.

    Args:
        content: The file.

    Returns:
        ``max`` and ``mean`` absolute difference in grey levels (before rounding, so up to 0.5 is rounding),
        ``psnr`` in dB, and ``cases``: the largest difference of each.

    Raises:
        ParityError: A case differs by more than 0.51 grey levels; names the case and the runtime.
    """
    return _check("warp", content, warp_cases(), GREY_TOLERANCE, 255.0)


def check_transfer(content: bytes) -> dict[str, Any]:
    """Compare ``transfer.tflite`` with the affine product of the bilinearly read map in float64.

    Args:
        content: The file.

    Returns:
        As for `check_warp`.

    Raises:
        ParityError: A case differs by more than 0.51 grey levels; names the case and the runtime.
    """
    return _check("transfer", content, transfer_cases(), GREY_TOLERANCE, 255.0)


def check_key_frame(content: bytes) -> dict[str, Any]:
    """Compare ``key_frame.tflite`` (decision, score, features) with float64.

    Args:
        content: The file.

    Returns:
        As for `check_warp`, in units of the score.

    Raises:
        ParityError: A case differs by more than 1e-5, or decides otherwise; names the case and the runtime.
    """
    return _check("key_frame", content, key_frame_cases(), FEATURE_TOLERANCE, 1.0)


def _check(
    kernel: str, content: bytes, cases: Iterator[Case], tolerance: float, peak: float
) -> dict[str, Any]:
    largest: dict[str, float] = {}
    total, squares, count = 0.0, 0.0, 0
    for case in cases:
        for lane, resolver in _LANES.items():
            difference = np.abs(_run(content, case.inputs, resolver) - case.expected)
            worst = float(difference.max())
            if not worst <= tolerance:
                raise ParityError(
                    f"Kernel {kernel} differs from its formula by {worst:.4g} (allowed {tolerance})"
                    f" in case {case.name} on {lane}"
                )
            largest[case.name] = max(worst, largest.get(case.name, 0.0))
            total, squares = total + float(difference.sum()), squares + float(np.square(difference).sum())
            count += difference.size
    return {
        "max": max(largest.values()),
        "mean": total / count,
        "psnr": 10 * float(np.log10(peak**2 / max(squares / count, 1e-20))),
        "cases": largest,
    }


def _run(content: bytes, inputs: Mapping[str, Array], resolver: OpResolverType) -> Array:
    """All outputs, one after the other, as float64."""
    interpreter = Interpreter(model_content=content, num_threads=1, experimental_op_resolver_type=resolver)
    indices = {d["name"]: d["index"] for d in interpreter.get_input_details()}
    for name, value in inputs.items():
        interpreter.resize_tensor_input(indices[name], value.shape)
    interpreter.allocate_tensors()
    for name, value in inputs.items():
        interpreter.set_tensor(indices[name], value)
    interpreter.invoke()
    outputs = [interpreter.get_tensor(d["index"]) for d in interpreter.get_output_details()]
    return np.concatenate([np.ravel(o).astype(np.float64) for o in outputs])


KERNELS = {
    "warp": Kernel(build_warp, check_warp, WARP_INPUTS, WARP_OUTPUTS),
    "transfer": Kernel(build_transfer, check_transfer, TRANSFER_INPUTS, TRANSFER_OUTPUTS),
    "key_frame": Kernel(build_key_frame, check_key_frame, KEY_FRAME_INPUTS, KEY_FRAME_OUTPUTS),
}
