"""What the gateway says when it does not do what it was asked."""

from __future__ import annotations

import grpc


class StatusError(Exception):
    """An answer that is no result.

    Args:
        status: gRPC status.
        text: A constant for strangers to read: no path, no address, nothing that they sent.
        pushback_s: How long the client should wait before it comes again, in seconds.
    """

    def __init__(self, status: grpc.StatusCode, text: str, pushback_s: float | None = None) -> None:
        super().__init__(text)
        self.status = status
        self.text = text
        self.pushback_s = pushback_s


def invalid(text: str) -> StatusError:
    """Return the refusal of a request that will never be accepted as it is."""
    return StatusError(grpc.StatusCode.INVALID_ARGUMENT, text)


def restarting() -> StatusError:
    """Return the refusal of a request that comes while the stylizer is away for a moment."""
    return StatusError(grpc.StatusCode.UNAVAILABLE, "the stylizer is restarting")
