"""Edit decision lists (CMX3600): which frames of a video belong to which shot."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

from device_runtime.media.atomic_file import OutputError, check_output, pending_file

REEL = "AX"  # an auxiliary source: a file
MAX_EVENTS = 999  # the format numbers events with three digits


class Event(NamedTuple):
    """One shot: frames `first` to `end` - 1, and a comment."""

    first: int
    end: int
    comment: str


def write_edl(target: Path, title: str, clip: str, rate: Fraction, events: Sequence[Event]) -> None:
    """Write an edit decision list that cuts a video at its own shots.

    Time codes count the frames of the video from 00:00:00:00 at the nearest whole rate, without drop frames.

    Args:
        target: The file; replaced only by a complete one.
        title: One line.
        clip: Name of the video.
        rate: Its frames per second.
        events: The shots, at most 999.

    Raises:
        OutputError: The file cannot be written.
    """
    base = max(1, round(rate))
    lines = [f"TITLE: {_one_line(title)}", "FCM: NON-DROP FRAME", ""]
    for number, event in enumerate(events, 1):
        span = f"{timecode(event.first, base)} {timecode(event.end, base)}"
        lines += [
            f"{number:03}  {REEL:8} V     C        {span} {span}",
            f"* FROM CLIP NAME: {_one_line(clip)}",
        ]
        lines += [f"* {_one_line(event.comment)}", ""]
    resolved = check_output(target)
    try:
        with pending_file(resolved) as pending:
            pending.write_text("\r\n".join(lines), encoding="utf-8", newline="")
    except OSError as error:
        raise OutputError(
            f"{target} cannot be written ({error.strerror})", "Choose another output"
        ) from error


def timecode(frame: int, base: int) -> str:
    """Return HH:MM:SS:FF of a frame at a whole rate."""
    seconds, frames = divmod(frame, base)
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:02}:{minutes:02}:{seconds:02}:{frames:02}"


def _one_line(text: str) -> str:
    return " ".join(text.split())
