"""Hexagon's verification lane: Qualcomm's HTP library on this machine, through onnxruntime-qnn.

The library computes float graphs in float16 as the chip does, so the rounding errors of float16 show up
without a phone. Its speed means nothing. It reads ONNX, so a kernel is first translated
(`export.runtimes.tflite_to_onnx`).

The library runs in a subprocess: ``python -m export.runtimes.hexagon FILE INPUTS.npz OUTPUTS.npz``.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from typing import Final

from export.runtimes.difference import Array, Case
from export.runtimes.subprocess_runner import NOT_WHOLE, read_cases, run_worker, write_outputs

LANE = "Hexagon numerics"
MAX_PIXELS = 512 * 256  # a frame of this size takes seconds, one of 1080p minutes
# Snapdragon 8 Gen 3; without model and architecture the library cannot finish a graph.
_CHIP: Final = {"soc_model": "57", "htp_arch": "75"}


def why_missing() -> str | None:
    """Return why this machine cannot run the lane, None where it can."""
    if find_spec("onnxruntime_qnn") is not None:
        return None
    return "no Hexagon library: pip install 'mvstylizer[npu]'"


def run_on_htp(content: bytes, cases: Sequence[Case]) -> list[list[Array]]:
    """Run a TFLite file, translated to ONNX, on all cases and return the outputs of each, in order.

    Raises:
        GraphError: The file has an operator that cannot be translated.
        LaneError: The library rejects the graph or part of it.
    """
    from export.runtimes.tflite_to_onnx import onnx_twin  # not for the subprocess, which needs no onnx

    twin = onnx_twin(content).SerializeToString()
    return run_worker("export.runtimes.hexagon", LANE, twin, cases, dict(os.environ))


def _work(file: str, source: str, target: str) -> int:
    """Run all cases of `source` in this process and write `target`; return the exit code."""
    import onnxruntime
    import onnxruntime_qnn as qnn

    name = qnn.get_ep_name()
    onnxruntime.register_execution_provider_library(name, qnn.get_library_path())
    devices = [device for device in onnxruntime.get_ep_devices() if device.ep_name == name]
    options = onnxruntime.SessionOptions()
    options.add_session_config_entry("session.disable_cpu_ep_fallback", "1")
    options.add_provider_for_devices(devices[:1], {"backend_path": qnn.get_qnn_htp_path(), **_CHIP})
    try:
        session = onnxruntime.InferenceSession(file, options)
    except Exception as error:  # the exceptions of ONNX Runtime have no other base class in common
        if "disable_cpu_ep_fallback" not in str(error) and "fallback" not in str(error):
            raise
        return NOT_WHOLE
    write_outputs(target, {case: session.run(None, inputs) for case, inputs in read_cases(source).items()})
    return 0


if __name__ == "__main__":
    sys.exit(_work(*sys.argv[1:]))
