"""A stranger's inference request, checked against the model's contract before anything is forwarded.

Sizes are worked out in Python's unbounded integers: Triton 2.51 multiplies dimensions in 64 bits, so that
``[2^31, 2^31, 4, 3]`` counts as 0 bytes, fits an empty body, and kills the model for good.

An image tensor ``x`` may come as ``x_jpeg`` and be asked for as ``x_jpeg``: BYTES, shape [1], one JPEG. An
affine map ``x`` may be asked for as ``x_packed``: BYTES, shape [1], see `map_codec`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tritonclient.grpc import service_pb2

from edge_triton.client.jpeg import JpegError, decode_jpeg
from edge_triton.gateway.status_error import invalid
from mvstylizer.bundle import TensorSpec

JPEG, PACKED = "_jpeg", "_packed"
JPEG_QUALITY = "jpeg_quality"
RETRAIN = "retrain"
KEEP, FORGET = "keep", "forget"
_DEFAULT_QUALITY = 95
DATATYPES = {"uint8": "UINT8", "int32": "INT32", "float32": "FP32"}
_PREFIX_BYTES = 4


@dataclass(frozen=True)
class Contract:
    """What goes into a model and what comes out, in the words of the wire.

    Attributes:
        inputs: Input tensors.
        outputs: Output tensors.
    """

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]

    def wire_inputs(self) -> list[tuple[str, str, tuple[int, ...]]]:
        """Return (name, datatype, shape) of all that may be sent, JPEG forms included."""
        return _wire(self.inputs)

    def wire_outputs(self) -> list[tuple[str, str, tuple[int, ...]]]:
        """Return (name, datatype, shape) of all that may be asked for, JPEG and packed forms included."""
        return _wire(self.outputs) + [
            (spec.name + PACKED, "BYTES", (1,)) for spec in self.outputs if _is_map(spec)
        ]


@dataclass
class InferenceRequest:
    """A request that passed.

    Attributes:
        tensors: Raw input arrays by name.
        jpegs: JPEG files by the name of the raw input that they stand for, not yet decoded.
        outputs: What was asked for, in order, JPEG and packed forms by their own names.
        quality: JPEG quality of the reply.
        retrain: ``keep``: the edge may learn from this request's image; ``forget``: it shall remove all
            that this client ever allowed; empty: neither.
    """

    tensors: dict[str, NDArray[Any]] = field(default_factory=dict)
    jpegs: dict[str, bytes] = field(default_factory=dict)
    outputs: tuple[str, ...] = ()
    quality: int = _DEFAULT_QUALITY
    retrain: str = ""

    def decode(self, max_pixels: int) -> None:
        """Turn the JPEG files into arrays (1, H, W, 3); takes milliseconds, so not in the event loop.

        Raises:
            StatusError: No JPEG, too large, cut off, or damaged.
        """
        for name, data in self.jpegs.items():
            try:
                self.tensors[name] = decode_jpeg(data, max_pixels)[None]
            except JpegError as err:
                raise invalid(str(err)) from err
        self.jpegs.clear()

    def raw_outputs(self) -> tuple[str, ...]:
        """Return the model's outputs that are needed, each once."""
        return tuple(dict.fromkeys(plain_name(name) for name in self.outputs))


def read_request(
    request: service_pb2.ModelInferRequest, contract: Contract, max_pixels: int
) -> InferenceRequest:
    """Check a request and take its tensors out.

    Args:
        request: What the stranger sent.
        contract: What the model takes and gives.
        max_pixels: Most pixels of an image.

    Raises:
        StatusError: The request does not keep the contract.
    """
    ask = InferenceRequest()
    raws = request.raw_input_contents
    if len(raws) != len(request.inputs):
        raise invalid("each input tensor needs its bytes in raw_input_contents, and nothing else")
    specs = {spec.name: spec for spec in contract.inputs}
    for tensor, data in zip(request.inputs, raws, strict=True):
        if tensor.parameters:
            raise invalid("input parameters, shared memory among them, are not accepted")
        name, is_jpeg = _split(tensor.name, specs)
        if name in ask.tensors or name in ask.jpegs:
            raise invalid("an input tensor is given twice")
        if is_jpeg:
            ask.jpegs[name] = _bytes_element(tensor, data)
        else:
            ask.tensors[name] = _array(tensor, data, specs[name], max_pixels)
    if len(ask.tensors) + len(ask.jpegs) != len(specs):
        raise invalid("an input tensor is missing")
    ask.outputs = _outputs(request, contract)
    ask.quality = _quality(request)
    ask.retrain = _retrain(request)
    return ask


def check_values(tensors: dict[str, NDArray[Any]], max_pixels: int) -> None:
    """Check what the bytes hold: finite numbers, and an upscaling factor that fits the image.

    Args:
        tensors: Input arrays by name, images decoded.
        max_pixels: Most pixels after upscaling.

    Raises:
        StatusError: A value is out of range.
    """
    for value in tensors.values():
        if value.dtype.kind == "f" and not np.isfinite(value).all():
            raise invalid("a number in the request is not finite")
    if "r" in tensors and "frame" in tensors:
        height, width = upscaled(tensors)
        if min(height, width) < 1 or height * width > max_pixels:
            raise invalid("the upscaling factor makes the image too small or larger than this edge allows")


def plain_name(output: str) -> str:
    """Return the model's own name of an output that may be asked for in another form."""
    return output.removesuffix(JPEG).removesuffix(PACKED)


def upscaled(tensors: dict[str, NDArray[Any]]) -> tuple[int, int]:
    """Return height and width of the stylized image: round(r·H), round(r·W)."""
    factor = float(tensors["r"][0])
    return round(factor * tensors["frame"].shape[1]), round(factor * tensors["frame"].shape[2])


def _wire(specs: Sequence[TensorSpec]) -> list[tuple[str, str, tuple[int, ...]]]:
    rows = [(spec.name, DATATYPES[spec.dtype], spec.shape) for spec in specs]
    return rows + [(spec.name + JPEG, "BYTES", (1,)) for spec in specs if _is_image(spec)]


def _is_image(spec: TensorSpec) -> bool:
    return spec.dtype == "uint8" and len(spec.shape) == 4 and spec.shape[3] == 3


def _is_map(spec: TensorSpec) -> bool:
    return spec.dtype == "float32" and len(spec.shape) == 4 and spec.shape[3] == 12


def _split(name: str, specs: dict[str, TensorSpec]) -> tuple[str, bool]:
    """Return the contract's name of a tensor, and whether it is meant in JPEG form."""
    if name in specs:
        return name, False
    plain = name.removesuffix(JPEG)
    if plain == name or plain not in specs or not _is_image(specs[plain]):
        raise invalid("a tensor is named that the model does not have")
    return plain, True


def _array(
    tensor: service_pb2.ModelInferRequest.InferInputTensor, data: bytes, spec: TensorSpec, max_pixels: int
) -> NDArray[Any]:
    if tensor.datatype != DATATYPES[spec.dtype]:
        raise invalid("an input tensor has another data type than the model takes")
    shape = tuple(tensor.shape)
    if len(shape) != len(spec.shape):
        raise invalid("an input tensor has another number of dimensions than the model takes")
    if any(have < 1 or want not in (-1, have) for want, have in zip(spec.shape, shape, strict=True)):
        raise invalid("an input tensor has another shape than the model takes")
    if _is_image(spec) and shape[1] * shape[2] > max_pixels:
        raise invalid("the image is larger than this edge allows")
    if len(data) != math.prod(shape) * np.dtype(spec.dtype).itemsize:
        raise invalid("an input tensor's bytes do not fill its shape")
    return np.frombuffer(data, spec.dtype).reshape(shape)


def _bytes_element(tensor: service_pb2.ModelInferRequest.InferInputTensor, data: bytes) -> bytes:
    if tensor.datatype != "BYTES" or list(tensor.shape) != [1]:
        raise invalid("a JPEG comes as BYTES of shape [1]")
    if int.from_bytes(data[:_PREFIX_BYTES], "little") != len(data) - _PREFIX_BYTES:
        raise invalid("a BYTES tensor's length is not what its prefix says")
    return data[_PREFIX_BYTES:]


def _outputs(request: service_pb2.ModelInferRequest, contract: Contract) -> tuple[str, ...]:
    """Return the names asked for; none means all, in raw form."""
    specs = {spec.name: spec for spec in contract.outputs}
    names = tuple(tensor.name for tensor in request.outputs)
    if any(tensor.parameters for tensor in request.outputs):
        raise invalid("output parameters, shared memory among them, are not accepted")
    if len(set(names)) != len(names):
        raise invalid("an output tensor is asked for twice")
    packed = {name + PACKED for name, spec in specs.items() if _is_map(spec)}
    for name in set(names) - packed:
        _split(name, specs)
    return names or tuple(specs)


def _quality(request: service_pb2.ModelInferRequest) -> int:
    if JPEG_QUALITY not in request.parameters:
        return _DEFAULT_QUALITY
    quality = int(request.parameters[JPEG_QUALITY].int64_param)
    if not 1 <= quality <= 100:
        raise invalid("jpeg_quality is a whole number from 1 to 100")
    return quality


def _retrain(request: service_pb2.ModelInferRequest) -> str:
    if RETRAIN not in request.parameters:
        return ""
    wish: str = request.parameters[RETRAIN].string_param
    if wish not in (KEEP, FORGET):
        raise invalid("retrain is keep or forget")
    return wish
