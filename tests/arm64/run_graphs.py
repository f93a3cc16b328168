"""Run TFLite graphs on given inputs and save the outputs. Runs on both machines, so it imports little.

Usage: python run_graphs.py INPUTS.npz OUTPUTS.npz; the inputs' keys are ``graph file|XNNPACK or not|tensor``.
"""

from __future__ import annotations

import sys

import numpy as np
from ai_edge_litert.interpreter import Interpreter, OpResolverType


def main() -> None:
    resolvers = {
        "xnnpack": OpResolverType.AUTO,
        "builtin": OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
    }
    runs: dict[tuple[str, str], dict[str, np.ndarray]] = {}
    with np.load(sys.argv[1]) as given:
        for key in given:
            path, lane, tensor = key.split("|")
            runs.setdefault((path, lane), {})[tensor] = given[key]
    results = {}
    for (path, lane), tensors in runs.items():
        interpreter = Interpreter(path, num_threads=1, experimental_op_resolver_type=resolvers[lane])
        for detail in interpreter.get_input_details():
            if tuple(detail["shape"]) != tensors[detail["name"]].shape:
                interpreter.resize_tensor_input(detail["index"], tensors[detail["name"]].shape)
        interpreter.allocate_tensors()
        for detail in interpreter.get_input_details():
            interpreter.set_tensor(detail["index"], tensors[detail["name"]])
        interpreter.invoke()
        for detail in interpreter.get_output_details():
            results[f"{path}|{lane}|{detail['name']}"] = interpreter.get_tensor(detail["index"])
    np.savez(sys.argv[2], **results)


main()
