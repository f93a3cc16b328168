"""What can be wrong with an edge, in words that say what to do, and what of it may pass."""

from __future__ import annotations

from typing import Any

from mvstylizer.errors import MVStylizerError

_TOO_LARGE = "larger than max"  # gRPC's own words
# NOT_FOUND is what Triton says while it drains and while it loads, so it is worth another try.
_PASSING = {"UNAVAILABLE", "DEADLINE_EXCEEDED", "RESOURCE_EXHAUSTED", "NOT_FOUND"}
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
    """Something about the edge."""


class EdgeAddressError(EdgeError):
    """The address of an edge is not HOST:PORT."""


class EdgeUnavailableError(EdgeError):
    """The edge does not answer, answers too late, or fails by its own fault."""


class EdgeRefusedError(EdgeError):
    """The edge answers, and refuses this request."""


class EdgeTlsError(EdgeError):
    """A TLS file cannot be read."""


def edge_error(err: Any, address: str, timeout_s: float) -> EdgeError:
    """Return what tritonclient's `InferenceServerException` means.

    Args:
        err: The exception.
        address: Of the edge.
        timeout_s: The deadline that the call had.
    """
    status, text = _status(err), " ".join(str(err.message()).split())
    if _TOO_LARGE in text:
        return EdgeRefusedError(
            f"The frame is too large for the edge at {address}", "Send smaller frames, or JPEG"
        )
    if status in _REFUSING:
        return EdgeRefusedError(f"The edge at {address} refuses the request: {text}")
    if status == "DEADLINE_EXCEEDED":
        what = f"The edge at {address} did not answer within {timeout_s:g} s"
    elif status == "UNAVAILABLE":
        what = f"No edge answers at {address}"
    else:
        return EdgeUnavailableError(
            f"The edge at {address} failed ({status}: {text})", "Try another edge, or use --local"
        )
    return EdgeUnavailableError(what, "Start one with `mvstylizer serve`, leave --edge away, or use --local")


def is_passing(err: Any) -> bool:
    """Return whether a call that failed with an `InferenceServerException` is worth another try."""
    if _TOO_LARGE in str(err.message()):
        return False
    # A dead stub answers INTERNAL until the supervisor has replaced it.
    return _status(err) in _PASSING or "is not healthy" in str(err.message())


def _status(err: Any) -> str:
    return str(err.status()).removeprefix("StatusCode.")
