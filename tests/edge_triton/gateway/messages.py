"""A valid request of the tiny stylizer, to be altered."""

from __future__ import annotations

from typing import Any

import numpy as np
import tritonclient.grpc as triton
from tritonclient.grpc import service_pb2

STYLE_CODE = np.array([0.2, 0.5, 0.8], np.float32)
GRAY = np.full((8, 8, 3), 100, np.uint8)
KINDS = {"uint8": "UINT8", "float32": "FP32", "int64": "INT64", "object": "BYTES"}


def feed(**changes: Any) -> list[triton.InferInput]:
    """Return the tensors of a valid request with some replaced; None omits one."""
    arrays = {
        "frame": GRAY[None],
        "style_code": STYLE_CODE[None],
        "r": np.array([1], np.float32),
        **changes,
    }
    tensors = []
    for name, value in arrays.items():
        if value is not None:
            tensors.append(triton.InferInput(name, list(value.shape), KINDS[value.dtype.name]))
            tensors[-1].set_data_from_numpy(value)
    return tensors


def request(**changes: Any) -> service_pb2.ModelInferRequest:
    """Return a valid request as a message."""
    message = service_pb2.ModelInferRequest(model_name="stylizer")
    for tensor in feed(**changes):
        message.inputs.append(tensor._get_tensor())
        message.raw_input_contents.append(tensor._get_content())
    return message
