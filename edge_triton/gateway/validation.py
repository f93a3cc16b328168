"""Checks an untrusted inference request against the model's contract before anything reaches Triton.

Sizes are computed with Python's unbounded integers: Triton 2.51 multiplies dimensions in 64 bits, so that
``[2^31, 2^31, 4, 3]`` counts as 0 bytes, matches an empty body, and kills the model for good.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tritonclient.grpc import service_pb2

from edge_triton.client.jpeg import JpegError, decode_jpeg
from edge_triton.gateway.contract import DATATYPES, JPEG, Contract, is_image, plain_name
from edge_triton.gateway.message import RawRequest
from edge_triton.gateway.status_error import invalid
from mvstylizer.bundle import Bundle, TensorSpec
from mvstylizer.stylizer import MAX_ASPECT, is_too_thin

JPEG_QUALITY = "jpeg_quality"
RETRAIN = "retrain"
KEEP, FORGET = "keep", "forget"
_DEFAULT_QUALITY = 95
_PREFIX_BYTES = 4
# Beginnings of the parameters that would change the answer, and what they are about.
_MEANINGFUL = {"shared_memory_": "shared memory", "sequence_": "sequence", "classification": "classification"}


@dataclass(frozen=True)
class InferenceRequest:
    """A valid request, with its images decoded.

    Attributes:
        id: The client's name for the request, returned with the response.
        model: Model name.
        version: Model version.
        tensors: Input arrays by the model's own names.
        outputs: Requested outputs in order, JPEG and packed forms by their own names.
        quality: JPEG quality of the response, 1 to 100.
        retrain: ``keep`` lets the edge train on this request's image; ``forget`` deletes everything that this
            client has ever allowed; empty for neither.
    """

    id: str
    model: str
    version: int
    tensors: Mapping[str, NDArray[Any]]
    outputs: tuple[str, ...]
    quality: int
    retrain: str

    def raw_outputs(self) -> tuple[str, ...]:
        """Return the model's outputs that are needed, each once."""
        return tuple(dict.fromkeys(plain_name(name) for name in self.outputs))


def validate(received: RawRequest, bundle: Bundle, max_pixels: int) -> InferenceRequest:
    """Check a request completely; decoding its JPEGs takes milliseconds, so call it outside the event loop.

    Args:
        received: The untrusted request; its model is one that `bundle` has.
        bundle: The version that will answer.
        max_pixels: Most pixels of an image, before and after upscaling.

    Raises:
        StatusError: The request violates the contract.
    """
    message = received.message
    spec = bundle.spec(message.model_name)
    contract = Contract(spec.inputs, spec.outputs)
    _check_parameters(message.parameters)
    outputs, quality, retrain = _outputs(message, contract), _quality(message), _retrain(message)
    tensors = _tensors(received, contract, max_pixels)
    _check_values(tensors, max_pixels)
    return InferenceRequest(
        message.id, message.model_name, bundle.version, tensors, outputs, quality, retrain
    )


def upscaled(tensors: Mapping[str, NDArray[Any]]) -> tuple[int, int]:
    """Return height and width of the stylized image: round(r·H), round(r·W)."""
    factor = float(tensors["r"][0])
    return round(factor * tensors["frame"].shape[1]), round(factor * tensors["frame"].shape[2])


def _tensors(received: RawRequest, contract: Contract, max_pixels: int) -> dict[str, NDArray[Any]]:
    """Return the input arrays; JPEGs are decoded last, when everything cheaper has passed."""
    inputs, raws = received.message.inputs, received.contents
    if len(raws) != len(inputs):
        raise invalid("raw_input_contents must hold the bytes of each input tensor, and nothing else")
    specs = {spec.name: spec for spec in contract.inputs}
    tensors: dict[str, NDArray[Any]] = {}
    jpegs: dict[str, bytes] = {}
    for tensor, data in zip(inputs, raws, strict=True):
        _check_parameters(tensor.parameters)
        name, is_jpeg = _split(tensor.name, specs)
        if name in tensors or name in jpegs:
            raise invalid("an input tensor appears twice")
        if is_jpeg:
            jpegs[name] = _bytes_element(tensor, data)
        else:
            tensors[name] = _array(tensor, data, specs[name], max_pixels)
    if len(tensors) + len(jpegs) != len(specs):
        raise invalid("an input tensor is missing")
    return tensors | {name: _decoded(data, max_pixels) for name, data in jpegs.items()}


def _split(name: str, specs: Mapping[str, TensorSpec]) -> tuple[str, bool]:
    """Return the contract's name of a tensor, and whether the request uses its JPEG form."""
    if name in specs:
        return name, False
    plain = name.removesuffix(JPEG)
    if plain == name or plain not in specs or not is_image(specs[plain]):
        raise invalid("the model has no tensor of that name")
    return plain, True


def _array(
    tensor: service_pb2.ModelInferRequest.InferInputTensor,
    data: memoryview,
    spec: TensorSpec,
    max_pixels: int,
) -> NDArray[Any]:
    if tensor.datatype != DATATYPES[spec.dtype]:
        raise invalid("an input tensor has the wrong data type")
    shape = tuple(tensor.shape)
    if len(shape) != len(spec.shape):
        raise invalid("an input tensor has the wrong number of dimensions")
    if any(have < 1 or want not in (-1, have) for want, have in zip(spec.shape, shape, strict=True)):
        raise invalid("an input tensor has the wrong shape")
    if is_image(spec) and shape[1] * shape[2] > max_pixels:
        raise invalid("the image is larger than this edge allows")
    if len(data) != math.prod(shape) * np.dtype(spec.dtype).itemsize:
        raise invalid("an input tensor has the wrong number of bytes for its shape")
    return np.frombuffer(data, spec.dtype).reshape(shape)


def _bytes_element(tensor: service_pb2.ModelInferRequest.InferInputTensor, data: memoryview) -> bytes:
    if tensor.datatype != "BYTES" or list(tensor.shape) != [1]:
        raise invalid("a JPEG must be BYTES of shape [1]")
    if int.from_bytes(data[:_PREFIX_BYTES], "little") != len(data) - _PREFIX_BYTES:
        raise invalid("a BYTES tensor's length differs from its prefix")
    return bytes(data[_PREFIX_BYTES:])


def _decoded(data: bytes, max_pixels: int) -> NDArray[np.uint8]:
    """Return a JPEG as an array (1, H, W, 3)."""
    try:
        return decode_jpeg(data, max_pixels)[None]
    except JpegError as err:
        raise invalid(str(err)) from err


def _check_values(tensors: Mapping[str, NDArray[Any]], max_pixels: int) -> None:
    """Check that every number is finite, that no image is thin and that the upscaled image fits."""
    for value in tensors.values():
        if value.ndim == 4 and is_too_thin(*value.shape[1:3]):
            raise invalid(f"the image is thinner than 1:{MAX_ASPECT}")
        if value.dtype.kind == "f" and not np.isfinite(value).all():
            raise invalid("a number in the request is not finite")
    if "r" in tensors and "frame" in tensors:
        height, width = upscaled(tensors)
        if min(height, width) < 1 or height * width > max_pixels:
            raise invalid("the upscaling factor makes the image too small, or larger than this edge allows")


def _outputs(message: service_pb2.ModelInferRequest, contract: Contract) -> tuple[str, ...]:
    """Return the requested names; no name requests every output in raw form."""
    names = tuple(tensor.name for tensor in message.outputs)
    for tensor in message.outputs:
        _check_parameters(tensor.parameters)
    if len(set(names)) != len(names):
        raise invalid("an output tensor is requested twice")
    if set(names) - {name for name, *_ in contract.wire_outputs()}:
        raise invalid("the model has no tensor of that name")
    return names or tuple(spec.name for spec in contract.outputs)


def _check_parameters(parameters: Mapping[str, Any]) -> None:
    """Reject the parameters of KServe and Triton that would change the answer; the others are ignored."""
    for beginning, kind in _MEANINGFUL.items():
        if any(name.startswith(beginning) for name in parameters):
            raise invalid(f"{kind} parameters are not accepted")


def _quality(message: service_pb2.ModelInferRequest) -> int:
    if JPEG_QUALITY not in message.parameters:
        return _DEFAULT_QUALITY
    quality = int(message.parameters[JPEG_QUALITY].int64_param)
    if not 1 <= quality <= 100:
        raise invalid("jpeg_quality must be an integer from 1 to 100")
    return quality


def _retrain(message: service_pb2.ModelInferRequest) -> str:
    if RETRAIN not in message.parameters:
        return ""
    choice: str = message.parameters[RETRAIN].string_param
    if choice not in (KEEP, FORGET):
        raise invalid("retrain must be keep or forget")
    return choice
