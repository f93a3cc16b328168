"""A trace from the phone through the gateway to Triton."""

from __future__ import annotations

import logging
import re
from typing import Any

import grpc
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_triton.client.client import EdgeClient
from edge_triton.client.trace import continued, new_trace_id, trace_id_of, traceparent
from edge_triton.edge import Edge
from edge_triton.gateway import triton_channel
from tests.edge_triton.gateway.messages import request
from tests.edge_triton.running_edge import CODE, GRAY

FORM = re.compile(r"00-[0-9a-f]{32}-[0-9a-f]{16}-01")


def test_a_span_continues_its_trace() -> None:
    trace_id = new_trace_id()
    header = traceparent(trace_id)
    assert FORM.fullmatch(header)
    assert trace_id_of(continued(header)) == trace_id
    assert continued(header) != header


@given(
    st.one_of(
        st.text(max_size=60),
        st.just(f"00-{32 * '0'}-{16 * '1'}-01"),
        st.just(f"00-{32 * '1'}-{16 * '0'}-01"),
        st.just(f"ff-{32 * '1'}-{16 * '1'}-01"),
        st.just(f"00-{32 * '1'}-{16 * '1'}-01\n"),
    )
)
def test_an_invalid_header_starts_a_new_trace(header: str) -> None:
    made = continued(header)
    assert FORM.fullmatch(made)
    assert 32 * "1" not in made


@pytest.mark.server
def test_the_phones_trace_reaches_the_log_and_triton(
    edge: Edge, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[str] = []
    headers = triton_channel._headers

    def recorded(call: Any) -> Any:
        made = headers(call)
        sent.extend(value for key, value in made if key == "traceparent")
        return made

    monkeypatch.setattr(triton_channel, "_headers", recorded)
    with caplog.at_level(logging.INFO, "edge_triton.access"), EdgeClient(edge.address) as client:
        client.stylize(GRAY, CODE)
        facts = [record.facts for record in caplog.records if record.name == "edge_triton.access"]
        assert facts[-1]["status"] == "OK"
        assert trace_id_of(facts[-1]["traceparent"]) == client.trace_id
        assert client.trace_id in {trace_id_of(header) for header in sent}
    caplog.clear()
    with caplog.at_level(logging.INFO, "edge_triton.access"), grpc.insecure_channel(edge.address) as channel:
        call = channel.unary_unary("/inference.GRPCInferenceService/ModelInfer")
        call(request().SerializeToString(), timeout=60, metadata=[("traceparent", "nonsense\x1b"[:8])])
    assert FORM.fullmatch(caplog.records[-1].facts["traceparent"])
