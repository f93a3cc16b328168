"""What the gateway says when it does not do what it was asked."""

from __future__ import annotations

import grpc


class RefusalError(Exception):
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


def invalid(text: str) -> RefusalError:
    """Return the refusal of a request that will never be accepted as it is."""
    return RefusalError(grpc.StatusCode.INVALID_ARGUMENT, text)


def restarting() -> RefusalError:
    """Return the refusal of a request that comes while the stylizer is away for a moment."""
    return RefusalError(grpc.StatusCode.UNAVAILABLE, "the stylizer is restarting")
