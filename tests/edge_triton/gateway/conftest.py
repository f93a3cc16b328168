"""Fixtures of the gateway's tests."""

from __future__ import annotations

from collections.abc import Iterator

import grpc
import pytest
from tritonclient.grpc import service_pb2_grpc

from edge_triton.edge import Edge

Stub = service_pb2_grpc.GRPCInferenceServiceStub


@pytest.fixture(scope="module")
def stub(edge: Edge) -> Iterator[Stub]:
    options = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
    with grpc.insecure_channel(edge.address, options) as channel:
        yield Stub(channel)
