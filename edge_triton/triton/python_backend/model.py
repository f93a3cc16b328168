"""Triton python-backend model: runs an ONNX file with ONNX Runtime, after input checks that Triton lacks.

It is copied into every model version folder, so it does not import the kit. The config sets the rest: its
`parameters` have the key `intra_op_thread_count`, as for the onnxruntime backend, and `max_pixels`. Triton
has already checked data types, ranks and fixed dimensions against the config.
"""

from __future__ import annotations

import fcntl
import json
import os
import signal
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import triton_python_backend_utils as pb_utils  # type: ignore[import-not-found]

ALIVE = "MVSTYLIZER_ALIVE"  # in the environment: a pipe that the reaper holds open
_MAX_ASPECT = 36  # `mvstylizer.stylizer.MAX_ASPECT`


class TritonPythonModel:
    """Triton's entry point; one object per model instance, each in its own stub process."""

    def initialize(self, args: dict[str, str]) -> None:
        """Open the ONNX file of this version.

        Args:
            args: Triton's description of the instance: `model_config` as JSON, `model_repository` (the
                model's folder), `model_version`.
        """
        die_with_the_reaper(os.environ.get(ALIVE, ""))
        config = json.loads(args["model_config"])
        self._inputs = [tensor["name"] for tensor in config["input"]]
        self._max_pixels = int(_parameter(config, "max_pixels"))
        options = ort.SessionOptions()
        options.intra_op_num_threads = int(_parameter(config, "intra_op_thread_count"))
        options.log_severity_level = 3
        # Spinning threads would take cores from training on the same edge.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        onnx = Path(args["model_repository"]) / args["model_version"] / "model.onnx"
        self._session = ort.InferenceSession(str(onnx), options, providers=["CPUExecutionProvider"])

    def execute(self, requests: list[Any]) -> list[Any]:
        """Answer each request with the outputs that it names."""
        return [self._answer(request) for request in requests]

    def _answer(self, request: Any) -> Any:
        feeds = {name: pb_utils.get_input_tensor_by_name(request, name).as_numpy() for name in self._inputs}
        error = input_error(feeds, self._max_pixels)
        if error:
            return _error_response(error, pb_utils.TritonError.INVALID_ARG)
        names = list(request.requested_output_names())
        if "r" in feeds and "stylized" not in names:
            # ONNX Runtime always runs the whole graph, so the unwanted image is made as small as possible.
            # The map does not depend on r.
            feeds["r"] = np.array([1 / min(feeds["frame"].shape[1:3])], np.float32)
        try:
            outputs = self._session.run(names, feeds)
        except Exception as err:
            # ONNX Runtime has no narrower base class, and its messages name files of this machine.
            pb_utils.Logger.log_error(f"inference failed: {' '.join(str(err).split())}")
            return _error_response("the model failed on this input", pb_utils.TritonError.INTERNAL)
        return pb_utils.InferenceResponse(
            [pb_utils.Tensor(*pair) for pair in zip(names, outputs, strict=True)]
        )


def die_with_the_reaper(alive: str) -> None:
    """Have the kernel kill this process when the reaper dies: the server that should end it dies with it.

    The reaper holds the other end of a pipe. PR_SET_PDEATHSIG would not do: the server starts stubs in
    threads that end before it does. Nor would a Python thread: the stub waits with the interpreter locked.

    Args:
        alive: Path of the pipe; empty without a reaper.
    """
    if not alive:
        return
    try:
        pipe = os.open(alive, os.O_RDONLY | os.O_NONBLOCK)
        fcntl.fcntl(pipe, fcntl.F_SETOWN, os.getpid())
        fcntl.fcntl(pipe, fcntl.F_SETSIG, signal.SIGKILL)
        fcntl.fcntl(pipe, fcntl.F_SETFL, fcntl.fcntl(pipe, fcntl.F_GETFL) | os.O_ASYNC)
    except OSError as err:  # a kernel without it: the next server ends this process
        pb_utils.Logger.log_warn(f"this process may outlive its reaper: {err}")


def input_error(feeds: dict[str, np.ndarray[Any, Any]], max_pixels: int) -> str:
    """Return what is wrong with a request's tensors, or an empty string.

    uint8 tensors of rank 4 are NHWC images; `r` is the upscaling factor, float32 (1,); other float tensors
    only have to be finite.

    Args:
        feeds: Input tensors by name.
        max_pixels: Most pixels of an image, before and after upscaling.
    """
    factor = float(feeds["r"][0]) if "r" in feeds else 1.0
    if not (np.isfinite(factor) and factor > 0):
        return "the upscaling factor must be a finite number above 0"
    for tensor in feeds.values():
        if tensor.dtype == np.uint8:
            pixels = tensor.shape[1] * tensor.shape[2]
            if not pixels:
                return "the image has no pixels"
            if pixels > max_pixels or pixels * factor**2 > max_pixels:
                return "the image is larger than this edge allows"
            if max(tensor.shape[1:3]) > _MAX_ASPECT * min(tensor.shape[1:3]):
                return "the image is too thin for the network's pixel budget"
        elif not np.isfinite(tensor).all():
            return "a number in the request is not finite"
    return ""


def _parameter(config: dict[str, Any], key: str) -> str:
    value: str = config["parameters"][key]["string_value"]
    return value


def _error_response(text: str, code: int) -> Any:
    return pb_utils.InferenceResponse(error=pb_utils.TritonError(text, code))
