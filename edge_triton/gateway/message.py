"""Counts the fields of an untrusted protobuf message before it is parsed.

An empty nested message takes two bytes on the wire and hundreds in memory. Only the tensors' bytes may be
long, because they stay what they are; everything else of a valid request takes some hundred bytes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tritonclient.grpc import service_pb2

from edge_triton.gateway.status_error import StatusError, invalid

MAX_FIELDS = 64
MAX_REST_BYTES = 16 << 10
"""Size limit of everything but the tensors' bytes."""
_RAW_CONTENTS = 7  # number of `ModelInferRequest.raw_input_contents`
_VARINT, _FIXED64, _LENGTH, _FIXED32 = 0, 1, 2, 5
_MAX_VARINT_BYTES = 10


@dataclass(frozen=True)
class RawRequest:
    """An inference request whose contents are still in the received bytes: parsing copies them twice.

    Attributes:
        message: The message without its contents.
        contents: Its ``raw_input_contents``, as views of the received bytes.
    """

    message: service_pb2.ModelInferRequest
    contents: tuple[memoryview, ...]

    @property
    def model_name(self) -> str:
        """Name of the model."""
        name: str = self.message.model_name
        return name

    @property
    def pixels(self) -> float:
        """Size of the contents, in RGB pixels."""
        return sum(map(len, self.contents)) / 3


def parse_infer(data: bytes) -> RawRequest:
    """Check and parse an inference request.

    Raises:
        StatusError: It has too many or too long fields, or is malformed.
    """
    rest, contents = _fields(data, _RAW_CONTENTS)
    return RawRequest(_parsed(service_pb2.ModelInferRequest, rest), contents)


def parser(message: Any) -> Callable[[bytes], Any]:
    """Return a function that checks and parses a message of another kind.

    Args:
        message: Class of the message.
    """
    return lambda data: _parsed(message, _fields(data)[0])


def _fields(data: bytes, raw_field: int | None = None) -> tuple[bytes, tuple[memoryview, ...]]:
    """Check the number and size of a message's fields, in time independent of its size.

    Args:
        data: The message.
        raw_field: Number of the field that may be long; None = there is none.

    Returns:
        The message without that field, and the field's values.

    Raises:
        StatusError: It has too many or too long fields, or is malformed.
    """
    view, at, size = memoryview(data), 0, 0
    rest: list[memoryview] = []
    raw: list[memoryview] = []
    for _ in range(MAX_FIELDS):
        if at == len(data):
            return b"".join(rest), tuple(raw)
        tag, begin = _varint(data, at)
        value, end = _value(data, begin, tag & 7)
        if end > len(data):
            raise malformed()
        if tag >> 3 == raw_field and tag & 7 == _LENGTH:
            raw.append(view[value:end])
        else:
            rest.append(view[at:end])
            size += end - at
        if size > MAX_REST_BYTES:
            break
        at = end
    if at == len(data):
        return b"".join(rest), tuple(raw)
    raise invalid("the request is malformed, or its fields are too many or too long")


def _parsed(message: Any, data: bytes) -> Any:
    try:
        return message.FromString(data)
    except Exception as err:  # protobuf's own class is not public in every version
        raise malformed() from err


def malformed() -> StatusError:
    """Return the error for a message that cannot be parsed."""
    return invalid("the request is empty, malformed, or too large")


def _value(data: bytes, begin: int, kind: int) -> tuple[int, int]:
    """Return where a field's value begins and ends, which is beyond the data if it is truncated."""
    if kind == _VARINT:
        return begin, _varint(data, begin)[1]
    if kind == _LENGTH:
        length, begin = _varint(data, begin)
        return begin, begin + length
    if kind in (_FIXED64, _FIXED32):
        return begin, begin + (8 if kind == _FIXED64 else 4)
    raise malformed()  # groups, which KServe does not use


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """Return an integer and where it ends."""
    value = 0
    for index in range(_MAX_VARINT_BYTES):
        if at + index >= len(data):
            break
        byte = data[at + index]
        value |= (byte & 0x7F) << 7 * index
        if byte < 0x80:
            return value, at + index + 1
    raise malformed()
