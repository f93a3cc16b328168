"""Who sent a request, and the trace that it belongs to."""

from __future__ import annotations

from typing import NamedTuple


class Call(NamedTuple):
    """The caller's side of one request.

    Attributes:
        client: The client's name: of its token or certificate, otherwise its address.
        trace: W3C ``traceparent`` that the client sent, or that this edge gave the request; empty = none.
    """

    client: str
    trace: str = ""


CANARY = Call("")
"""The edge's own requests."""
