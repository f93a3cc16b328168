"""W3C trace context: one id that follows a request from the phone through the gateway to Triton.

https://www.w3.org/TR/trace-context/#traceparent-header
"""

from __future__ import annotations

import re
import secrets

TRACEPARENT = "traceparent"
"""Name of the header."""
_FORM = re.compile(r"00-(?P<trace>(?!0{32})[0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}", re.ASCII)


def new_trace_id() -> str:
    """Return a new trace id: 32 hexadecimal digits."""
    return secrets.token_hex(16)


def traceparent(trace_id: str) -> str:
    """Return the header for a new span of a trace."""
    return f"00-{trace_id}-{secrets.token_hex(8)}-01"


def continued(header: str) -> str:
    """Return the header for a new span in the trace of a received header; in a new trace if it is invalid."""
    found = _FORM.fullmatch(header)
    return traceparent(found["trace"] if found else new_trace_id())


def trace_id_of(header: str) -> str:
    """Return the trace id of a valid header."""
    return header.split("-")[1]
