"""Counts the fields of an untrusted protobuf message before it is parsed.

An empty nested message takes two bytes on the wire and hundreds in memory. Only the tensors' bytes may be
long, because they stay what they are; everything else of a valid request takes some hundred bytes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from edge_triton.gateway.status_error import StatusError, invalid

MAX_FIELDS = 64
MAX_REST_BYTES = 16 << 10
"""Size limit of everything but the tensors' bytes."""
RAW_CONTENTS = 7
"""Field number of ``ModelInferRequest.raw_input_contents``."""
_VARINT, _FIXED64, _LENGTH, _FIXED32 = 0, 1, 2, 5
_MAX_VARINT_BYTES = 10


def check_fields(data: bytes, raw_field: int | None = None) -> None:
    """Check the number and size of a message's fields, in time independent of its size.

    Args:
        data: The message.
        raw_field: Number of the field that may be long; None = there is none.

    Raises:
        StatusError: It has too many fields, or is malformed.
    """
    at, rest = 0, 0
    for _ in range(MAX_FIELDS):
        if at == len(data):
            return
        tag, begin = _varint(data, at)
        end = _end(data, begin, tag & 7)
        if tag >> 3 != raw_field:
            rest += end - at
        if end > len(data) or rest > MAX_REST_BYTES:
            break
        at = end
    if at != len(data):
        raise invalid("the request is malformed, or its fields are too many or too long")


def parser(message: Any, raw_field: int | None = None) -> Callable[[bytes], Any]:
    """Return a function that checks and parses a message, for a thread.

    Args:
        message: Class of the message.
        raw_field: Number of the field that may be long.
    """

    def parse(data: bytes) -> Any:
        check_fields(data, raw_field)
        try:
            return message.FromString(data)
        except Exception as err:  # protobuf's own class is not public in every version
            raise malformed() from err

    return parse


def malformed() -> StatusError:
    """Return the error for a message that cannot be parsed."""
    return invalid("the request is empty, malformed, or too large")


def _end(data: bytes, begin: int, kind: int) -> int:
    """Return where a field's value ends, beyond the data if it is truncated."""
    if kind == _VARINT:
        return _varint(data, begin)[1]
    if kind == _LENGTH:
        length, begin = _varint(data, begin)
        return begin + length
    if kind in (_FIXED64, _FIXED32):
        return begin + (8 if kind == _FIXED64 else 4)
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
