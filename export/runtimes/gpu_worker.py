"""Runs a TFLite file on LiteRT's GPU delegate; started by `export.runtimes.gpu`."""

from __future__ import annotations

import sys

import numpy as np
from ai_edge_litert.compiled_model import CompiledModel
from ai_edge_litert.hardware_accelerator import HardwareAccelerator

from export.runtimes.case import Array
from export.runtimes.subprocess_runner import NOT_WHOLE, read_cases, write_outputs


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
    write_outputs(target, {case: run(model, inputs) for case, inputs in read_cases(source).items()})
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
