"""Triton's outputs as a KServe response, in the forms that the request names: raw, JPEG or packed."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import grpc
import numpy as np
from tritonclient.grpc import service_pb2

from edge_triton.client.grid_codec import GridCodecError, pack_grid
from edge_triton.client.jpeg import JpegError, encode_jpeg
from edge_triton.gateway.contract import PACKED, plain_name
from edge_triton.gateway.status_error import StatusError, invalid
from edge_triton.gateway.triton_channel import Output
from edge_triton.gateway.validation import InferenceRequest
from edge_triton.gateway.work_pool import WorkPool


async def build_response(
    request: InferenceRequest, outputs: Mapping[str, Output], pool: WorkPool, client: str
) -> service_pb2.ModelInferResponse:
    """Return the response to a request.

    Args:
        request: The request.
        outputs: Raw outputs by the model's own names.
        pool: Threads that encode.
        client: Name of the client.

    Raises:
        StatusError: An image is too large for a JPEG, or a grid holds values out of range.
    """
    response = service_pb2.ModelInferResponse(
        model_name=request.model, model_version=str(request.version), id=request.id
    )
    for name in request.outputs:
        output = outputs[plain_name(name)]
        if name.endswith(PACKED):
            output = await pool.run(client, len(output.data) / 3, partial(_as_packed, output))
        elif name not in outputs:
            output = await pool.run(client, len(output.data) / 3, partial(_as_jpeg, output, request.quality))
        response.outputs.add(name=name, datatype=output.datatype, shape=output.shape)
        response.raw_output_contents.append(output.data)
    return response


def _as_jpeg(image: Output, quality: int) -> Output:
    """Return a raw image (1, H, W, 3) as a BYTES tensor with one JPEG file."""
    try:
        data = encode_jpeg(np.frombuffer(image.data, np.uint8).reshape(image.shape[1:]), quality)
    except JpegError as err:
        raise invalid(str(err)) from err
    return _as_bytes(data)


def _as_packed(grid: Output) -> Output:
    """Return a raw grid (1, rows, columns, bins, 12) as a BYTES tensor with one packed grid."""
    try:
        data = pack_grid(np.frombuffer(grid.data, np.float32).reshape(*grid.shape[1:4], 3, 4))
    except (GridCodecError, ValueError) as err:
        raise StatusError(grpc.StatusCode.INTERNAL, "the model failed on this input") from err
    return _as_bytes(data)


def _as_bytes(data: bytes) -> Output:
    return Output("BYTES", (1,), len(data).to_bytes(4, "little") + data)
