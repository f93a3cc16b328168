"""The child of `device_runtime.trial`: ``python -m device_runtime.trial_worker BUNDLE``."""

from __future__ import annotations

import contextlib
import json
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from device_runtime.trial import ROLES
from mvstylizer.bundle import Bundle, FileSpec, read_manifest
from mvstylizer.errors import printable
from mvstylizer.limited_process import limit_this_process

_SIDE = 64  # of a free dimension
_GOLDEN = "golden"
Inputs = dict[str, NDArray[Any]]


def main() -> None:
    """Load and run the models of a bundle, and report each as it is done."""
    limit_this_process()
    output = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever a runtime prints is not a report
    bundle = read_manifest(Path(sys.argv[1]))
    for spec in bundle.files:
        if spec.role in ROLES:
            output.write(json.dumps({"path": spec.path, "error": _failure(bundle, spec)}) + "\n")
            output.flush()


def _failure(bundle: Bundle, spec: FileSpec) -> str:
    """Run a model once; return why it cannot be loaded. Errors while it runs are the caller's, later."""
    run = _run_onnx if spec.format == "onnx" else _run_tflite
    try:
        run(bundle.path / spec.path, _inputs(bundle, spec))
    except Exception as err:  # runtimes raise anything on damaged files
        return printable(f"{type(err).__name__}: {err}", 200)
    return ""


def _run_onnx(path: Path, inputs: Inputs) -> None:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    with contextlib.suppress(Exception):
        session.run(None, inputs)


def _run_tflite(path: Path, inputs: Inputs) -> None:
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_path=str(path), num_threads=1)
    places = {detail["name"]: detail["index"] for detail in interpreter.get_input_details()}
    with contextlib.suppress(Exception):
        for name, value in inputs.items():
            interpreter.resize_tensor_input(places[name], value.shape)
        interpreter.allocate_tensors()
        for name, value in inputs.items():
            interpreter.set_tensor(places[name], value)
        interpreter.invoke()


def _inputs(bundle: Bundle, spec: FileSpec) -> Inputs:
    """Return the bundle's own golden inputs of a model, or ones of the declared shapes."""
    with contextlib.suppress(Exception), np.load(bundle.file(_GOLDEN)) as stored:
        start = f"{spec.role}/in/"
        found = {name.removeprefix(start): stored[name] for name in stored.files if name.startswith(start)}
        if found:
            return found
    return {
        tensor.name: np.ones([_SIDE if side < 0 else side for side in tensor.shape], tensor.dtype)
        for tensor in spec.inputs
    }


if __name__ == "__main__":
    main()
