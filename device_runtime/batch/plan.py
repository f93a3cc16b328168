"""Which files a run over many files reads, and where it writes each result."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from device_runtime.media.atomic_file import OutputError
from device_runtime.media.containers import CONTAINERS
from device_runtime.media.photo import is_photo
from device_runtime.media.photo_format import FORMATS
from mvstylizer.errors import MVStylizerError

# Suffixes of videos that a folder is searched for. FFmpeg also opens other files, text for example, so the
# content does not decide.
VIDEO_SUFFIXES: Final = {
    *(".3g2", ".3gp", ".apng", ".asf", ".avi", ".flv", ".gif", ".m2ts", ".m4v", ".mkv", ".mov", ".mp4"),
    *(".mpeg", ".mpg", ".mts", ".mxf", ".ogv", ".ts", ".vob", ".webm", ".wmv"),
}
VIDEO_OUT: Final = ".mp4"
PHOTO_OUT: Final = ".jpg"


class NoFilesError(MVStylizerError):
    """Error raised when a folder has neither a video nor a photo."""


class Item(NamedTuple):
    """One file to stylize, and its result."""

    source: Path
    out: Path


def is_batch(sources: Sequence[str], out: str) -> bool:
    """Return whether arguments mean a run over many files: several sources, or a folder on either side."""
    folders = [Path(path).is_dir() for path in (*sources, out)]
    return len(sources) > 1 or any(folders) or out.endswith(os.sep)


def plan_batch(sources: Sequence[Path], out: Path, *, keep_out: Sequence[Path] = ()) -> list[Item]:
    """List the files to stylize.

    A folder is searched with its subfolders, which the output repeats; hidden files are left out. A result
    keeps the name of its source, and its suffix where results of that kind can be written; otherwise it
    becomes .mp4 or .jpg. Two results of one name get numbers.

    Args:
        sources: Files and folders.
        out: The folder of the results. Nothing in it is a source.
        keep_out: Files to leave out even if they are in a folder, such as style photos.

    Returns:
        The files, in the order of the arguments and by name within a folder.

    Raises:
        NoFilesError: A folder has no usable file.
        OutputError: `out` is a file.
    """
    if out.exists() and not out.is_dir():
        raise OutputError(f"{out} is a file", "With several files, name a folder for the results")
    skipped = {path.resolve() for path in keep_out}
    items: list[Item] = []
    taken: set[Path] = set()
    for source in sources:
        found = [source]
        if source.is_dir():
            found = [path for path in _usable(source, out.resolve()) if path.resolve() not in skipped]
            if not found:
                raise NoFilesError(
                    f"The folder {source} has no video and no photo", "Choose a folder with videos or photos"
                )
        for path in found:
            relative = path.relative_to(source) if source.is_dir() else Path(path.name)
            result = _free(out / relative.with_name(_result_name(path)), taken)
            taken.add(result)
            items.append(Item(path, result))
    return items


def _usable(folder: Path, out: Path) -> Iterator[Path]:
    """Yield the videos and photos of a folder and its subfolders, by name."""
    for path in sorted(folder.rglob("*")):
        hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)
        is_result = out != folder.resolve() and out in path.resolve().parents
        if hidden or is_result or not path.is_file():
            continue
        if path.suffix.lower() in VIDEO_SUFFIXES or is_photo(path):
            yield path


def _result_name(source: Path) -> str:
    """Return the name of a result."""
    if source.suffix.lower() in {*CONTAINERS, *FORMATS}:
        return source.name
    return source.stem + (PHOTO_OUT if is_photo(source) else VIDEO_OUT)


def _free(path: Path, taken: set[Path]) -> Path:
    number = 1
    candidate = path
    while candidate in taken:
        number += 1
        candidate = path.with_name(f"{path.stem}-{number}{path.suffix}")
    return candidate
