"""Runs a TFLite file on LiteRT's GPU delegate; `export.gpu_lane` starts it in a process of its own.

Usage: ``python -m export.gpu_worker FILE.tflite INPUTS.npz OUTPUTS.npz``. The inputs are named
``CASE/TENSOR``, the outputs become ``CASE/NUMBER``. Exit code 3: the delegate does not take the whole graph.
"""

from __future__ import annotations

import sys
from collections import defaultdict
from pathlib import Path

import numpy as np
from ai_edge_litert.compiled_model import CompiledModel
from ai_edge_litert.hardware_accelerator import HardwareAccelerator

from export.case import Array

NOT_WHOLE = 3


def run(model: CompiledModel, inputs: dict[str, Array]) -> list[Array]:
    """Run one case and return the outputs in order, float32."""
    key = next(iter(model.get_signature_list()))
    signature = model.get_signature_by_index(0)
    given = model.create_input_buffers(0)
    taken = model.create_output_buffers(0)
    for name, buffer in zip(signature["inputs"], given, strict=True):
        buffer.write(np.ascontiguousarray(inputs[name]))
    model.run_by_index(0, given, taken)
    details = model.get_output_tensor_details(key)
    found = []
    for name, buffer in zip(signature["outputs"], taken, strict=True):
        shape = tuple(details[name]["shape"])
        found.append(buffer.read(int(np.prod(shape)), np.float32).reshape(shape))
    return found


def main(file: str, source: str, target: str) -> int:
    """Run all cases of `source` and write `target`."""
    model = CompiledModel.from_file(file, hardware_accel=HardwareAccelerator.GPU)
    if not model.is_fully_accelerated():
        return NOT_WHOLE
    cases: dict[str, dict[str, Array]] = defaultdict(dict)
    with np.load(source) as stored:
        for name in stored.files:
            case, tensor = name.split("/")
            cases[case][tensor] = stored[name]
    found = {
        f"{case}/{number}": value
        for case, inputs in cases.items()
        for number, value in enumerate(run(model, inputs))
    }
    np.savez(Path(target), **found)
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
