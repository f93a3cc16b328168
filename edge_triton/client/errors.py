"""Errors of an edge, with a hint, and which of them are worth a retry."""

from __future__ import annotations

from typing import Any

from mvstylizer.errors import MVStylizerError, printable

_TOO_LARGE = "larger than max"  # gRPC's wording
# Triton answers NOT_FOUND while it drains and while it loads, so that is worth a retry.
_TRANSIENT = {"UNAVAILABLE", "DEADLINE_EXCEEDED", "RESOURCE_EXHAUSTED", "NOT_FOUND"}
_REFUSING = {
    "INVALID_ARGUMENT",
    "NOT_FOUND",
    "UNAUTHENTICATED",
    "PERMISSION_DENIED",
    "FAILED_PRECONDITION",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
}


class EdgeError(MVStylizerError):
    """The edge cannot be used."""


class EdgeAddressError(EdgeError):
    """The address of an edge is not HOST:PORT."""


class EdgeUnavailableError(EdgeError):
    """The edge does not answer, answers too late, or fails internally."""


class EdgeRefusedError(EdgeError):
    """The edge rejects the request."""


class EdgeTlsError(EdgeError):
    """A TLS file cannot be read."""


def edge_error(err: Any, address: str, timeout_s: float) -> EdgeError:
    """Return the error for one of tritonclient's `InferenceServerException`.

    Args:
        err: The exception.
        address: Address of the edge.
        timeout_s: Deadline of the call, in seconds.
    """
    status, text = _status(err), printable(str(err.message()))
    if _TOO_LARGE in text:
        return EdgeRefusedError(
            f"The frame is too large for the edge at {address}", "Send smaller frames, or JPEG"
        )
    if status in _REFUSING:
        return EdgeRefusedError(f"The edge at {address} refuses the request: {text}")
    if status == "DEADLINE_EXCEEDED":
        message = f"The edge at {address} did not answer within {timeout_s:g} s"
    elif status == "UNAVAILABLE":
        message = f"No edge answers at {address}"
    else:
        return EdgeUnavailableError(
            f"The edge at {address} failed ({status}: {text})", "Try another edge, or use --local"
        )
    return EdgeUnavailableError(message, "Start one with `mvstylizer serve`, omit --edge, or use --local")


def is_transient(err: Any) -> bool:
    """Return whether a call that failed with this `InferenceServerException` is worth a retry."""
    if _TOO_LARGE in str(err.message()):
        return False
    # A dead stub answers INTERNAL until the supervisor has restarted Triton.
    return _status(err) in _TRANSIENT or "is not healthy" in str(err.message())


def _status(err: Any) -> str:
    return str(err.status()).removeprefix("StatusCode.")
