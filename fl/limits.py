"""Limits on what an edge may say: its name, frame count, losses and texts.

Every value is checked when it arrives, and again when an unfinished round is resumed from the journal.
"""

from __future__ import annotations

import re
from typing import Any

from fl.parameters import ParametersError
from mvstylizer.errors import printable

MAX_FRAMES, MAX_VERSION = 10_000_000, 10_000_000
MAX_LOSSES, MAX_LOSS, MAX_EPSILON = 64, 1e30, 1e30
MAX_TEXT = 500  # characters of an error or of a reason in the journal

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")


def is_edge_name(name: object) -> bool:
    """Return whether a name can be used in paths and on a terminal."""
    return isinstance(name, str) and _NAME.fullmatch(name) is not None


def short(text: str) -> str:
    """Return a text from an edge as one line without control characters, cut to `MAX_TEXT`."""
    return printable(text, MAX_TEXT)


def check_claims(edge: object, frames: object, losses: object, epsilon: object = 0.0) -> None:
    """Check what accompanies an edge's parameters.

    Args:
        edge: Name of the edge.
        frames: Number of frames.
        losses: Mean value of each loss by name.
        epsilon: Privacy that it has spent.

    Raises:
        ParametersError: A value is of another type, or out of bounds.
    """
    if not is_edge_name(edge):
        raise ParametersError(f"{_quoted(edge)} is not a valid edge name", "Register the edge under another")
    hint = "Update mvstylizer on that edge, or remove the edge"
    if not isinstance(frames, int) or isinstance(frames, bool) or not 0 <= frames <= MAX_FRAMES:
        raise ParametersError(
            f"{edge} sent {_quoted(frames)} as its number of frames, expected 0 to {MAX_FRAMES}", hint
        )
    if not isinstance(losses, dict) or len(losses) > MAX_LOSSES or not all(map(_is_loss, losses.items())):
        raise ParametersError(f"{edge} sent losses that are not at most {MAX_LOSSES} finite numbers", hint)
    if not isinstance(epsilon, float | int) or isinstance(epsilon, bool) or not 0 <= epsilon < MAX_EPSILON:
        raise ParametersError(f"{edge} sent {_quoted(epsilon)} as its epsilon", hint)


def _is_loss(row: tuple[Any, Any]) -> bool:
    name, value = row
    return is_edge_name(name) and isinstance(value, float | int) and abs(value) < MAX_LOSS


def _quoted(value: object) -> str:
    """Return a value of any size in quotes; an integer may have too many digits to be printed."""
    if isinstance(value, int) and value.bit_length() > 64:
        return "an integer of more than 64 bits"
    return repr(printable(str(value), 40))
