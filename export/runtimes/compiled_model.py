"""LiteRT 2's verification lane: its `CompiledModel` on the CPU, which Android's newer API runs.

It runs in a subprocess, since it prints what it looks for, and a fault in its plug-ins would end the program:
``python -m export.runtimes.compiled_model FILE INPUTS.npz OUTPUTS.npz``.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from export.runtimes.difference import Array, Case
from export.runtimes.subprocess_runner import read_cases, run_worker, write_outputs

LANE = "CompiledModel"


def run_compiled(content: bytes, cases: Sequence[Case]) -> list[list[Array]]:
    """Run a TFLite file on all cases and return the outputs of each, in order.

    Raises:
        LaneError: The runtime rejects the file or an input's shape.
    """
    return run_worker("export.runtimes.compiled_model", LANE, content, cases, dict(os.environ))


def _work(file: str, source: str, target: str) -> int:
    """Run all cases of `source` in this process and write `target`; return the exit code."""
    from ai_edge_litert.compiled_model import CompiledModel
    from ai_edge_litert.hardware_accelerator import HardwareAccelerator

    from export.runtimes.tflite_graph import Graph

    graph = Graph(Path(file).read_bytes())
    outputs = {graph.name(tensor): graph.dtype(tensor) for tensor in graph.outputs}
    model = CompiledModel.from_file(file, hardware_accel=HardwareAccelerator.CPU)
    write_outputs(target, {case: _run(model, inputs, outputs) for case, inputs in read_cases(source).items()})
    return 0


def _run(model: Any, inputs: Mapping[str, Array], outputs: Mapping[str, str]) -> list[Array]:
    """Run one case and return the outputs, by name and type, in order."""
    key = next(iter(model.get_signature_list()))
    signature = model.get_signature_by_index(0)
    for index, name in enumerate(signature["inputs"]):
        model.resize_input_tensor(index, list(inputs[name].shape))
    sources, targets = model.create_input_buffers(0), model.create_output_buffers(0)
    for name, buffer in zip(signature["inputs"], sources, strict=True):
        buffer.write(np.ascontiguousarray(inputs[name]))
    model.run_by_index(0, sources, targets)
    shapes = {name: tuple(row["shape"]) for name, row in model.get_output_tensor_details(key).items()}
    found = {
        name: buffer.read(int(np.prod(shapes[name])), np.dtype(outputs[name])).reshape(shapes[name])
        for name, buffer in zip(signature["outputs"], targets, strict=True)
    }
    return [found[name] for name in outputs]


if __name__ == "__main__":
    sys.exit(_work(*sys.argv[1:]))
