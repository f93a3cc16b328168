"""Messages are counted before they are parsed; protobuf's own parser is the reference."""

from __future__ import annotations

import tracemalloc

import pytest
from google.protobuf.message import DecodeError
from hypothesis import given, settings
from hypothesis import strategies as st
from tritonclient.grpc import service_pb2

from edge_triton.gateway.message import MAX_REST_BYTES, parse_infer, parser
from edge_triton.gateway.status_error import StatusError
from tests.edge_triton.gateway.messages import request


def parse(data: bytes) -> service_pb2.ModelInferRequest:
    """Return a request with its contents put back."""
    received = parse_infer(data)
    received.message.raw_input_contents.extend(map(bytes, received.contents))
    return received.message


GOOD = request().SerializeToString()


def test_a_valid_request_is_parsed() -> None:
    assert parse(GOOD) == request()


@settings(deadline=None, max_examples=300)
@given(st.one_of(st.binary(max_size=64), st.integers(0, len(GOOD)).map(lambda n: GOOD[:n])))
def test_what_protobuf_refuses_is_refused_by_name(data: bytes) -> None:
    try:
        expected = service_pb2.ModelInferRequest.FromString(data)
    except DecodeError:
        with pytest.raises(StatusError, match="malformed"):
            parse(data)
        return
    try:
        assert parse(data) == expected
    except StatusError:  # unknown groups, which KServe does not use
        assert any(byte & 7 in (3, 4) for byte in data)


MANY = {
    "outputs": (b"\x32\x00", 8_000_000),
    "inputs": (b"\x2a\x00", 65),
    "contents": (b"\x3a\x00", 1_000_000),
    "parameters": (b"\x22\x00", 100_000),
    "long-name": (b"\x0a\x81\x80\x01" + b"x" * 16385, 1),
    "parameters-of-an-input": (b"\x2a\xc0\xb8\x02" + b"\x22\x00" * 20_000, 1),
}


@pytest.mark.parametrize("kind", MANY)
def test_many_fields_are_refused_before_they_take_memory(kind: str) -> None:
    field, count = MANY[kind]
    more = field * count
    data = GOOD + more
    tracemalloc.start()
    try:
        with pytest.raises(StatusError, match="too many or too long"):
            parse(data)
        assert tracemalloc.get_traced_memory()[1] < 100_000
    finally:
        tracemalloc.stop()


def test_only_contents_may_be_long_and_are_not_copied() -> None:
    content = bytes(range(256)) * (20 << 10)
    data = service_pb2.ModelInferRequest(raw_input_contents=[content], id="x").SerializeToString()
    tracemalloc.start()
    try:
        received = parse_infer(data)
        assert tracemalloc.get_traced_memory()[1] < 100_000
    finally:
        tracemalloc.stop()
    assert received.contents[0] == content
    assert received.message.id == "x"
    with pytest.raises(StatusError):
        parser(service_pb2.ModelInferRequest)(data)
    with pytest.raises(StatusError):
        parse_infer(service_pb2.ModelInferRequest(id="x" * MAX_REST_BYTES).SerializeToString())
