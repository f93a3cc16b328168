"""Names of input files as FFmpeg needs them: a path, never a URL."""

from __future__ import annotations

from os.path import isfile
from pathlib import Path

import av
from av.container import InputContainer

from device_runtime.media.webp_film import film_of_webp


def open_input(path: Path) -> InputContainer:
    """Open a media file, whatever its name or the encoding of its tags.

    FFmpeg takes ``12:30.mp4`` and ``concat:x.mp4`` for URLs, but never an absolute path. Bytes of a name or
    tag that are not UTF-8 do no harm.

    Raises:
        FFmpegError: It is not a media file.
        OSError: It cannot be opened, or is not a regular file.
    """
    if not isfile(path):
        raise OSError(None, not_a_file(path))
    film = film_of_webp(path)
    if film is not None:
        return av.open(film, "r")
    return av.open(str(path.absolute()), metadata_errors="replace")


def not_a_file(path: Path) -> str:
    """Say what something that cannot be read twice is: a folder, or a pipe or device."""
    return "It is a folder" if path.is_dir() else "It is not a file but a pipe or device"
