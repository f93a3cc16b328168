"""The gateway's errors: a gRPC status and a text that is safe to send to anyone."""

from __future__ import annotations

import grpc


class StatusError(Exception):
    """A request is answered with an error.

    Args:
        status: gRPC status.
        text: A constant that is safe to send to anyone: no path, no address, nothing from the request.
        pushback_s: How long the client should wait before it retries, in seconds.
    """

    def __init__(self, status: grpc.StatusCode, text: str, pushback_s: float | None = None) -> None:
        super().__init__(text)
        self.status = status
        self.text = text
        self.pushback_s = pushback_s

    def plain(self) -> StatusError:
        """Return this error without its origin, whose frames would keep the request in memory for long."""
        self.__cause__ = self.__context__ = None
        return self.with_traceback(None)

    @property
    def trailers(self) -> tuple[tuple[str, str], ...]:
        """Trailing metadata that tells gRPC clients when to retry."""
        if self.pushback_s is None:
            return ()
        return (("grpc-retry-pushback-ms", str(int(1000 * self.pushback_s) + 1)),)


def invalid(text: str) -> StatusError:
    """Return the error for a request that is wrong in itself, so that no retry helps."""
    return StatusError(grpc.StatusCode.INVALID_ARGUMENT, text)


def restarting() -> StatusError:
    """Return the error for a request that arrives while Triton restarts."""
    return StatusError(grpc.StatusCode.UNAVAILABLE, "the stylizer is restarting")
