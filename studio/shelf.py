"""The files of a session: at most one video, one style photo and one result, in a temporary folder."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, Literal

from device_runtime.media.photo import is_photo, read_photo
from device_runtime.media.reader import VideoReader
from mvstylizer.errors import MVStylizerError

Role = Literal["source", "style"]
Kind = Literal["video", "photo"]
ROLES: Final[tuple[Role, ...]] = ("source", "style")
MAX_NAME: Final = 100  # file systems take 255 bytes; a character may need four


@dataclass(frozen=True)
class Kept:
    """A file that was looked into and can be used.

    Attributes:
        path: Where it is.
        kind: What it is.
        width: Pixels, upright.
        height: Pixels, upright.
        seconds: Length of a video; None where the file does not say, and for a photo.
        rate: Frames a second of a video, on average.
        has_audio: A video with sound.
    """

    path: Path
    kind: Kind
    width: int
    height: int
    seconds: float | None = None
    rate: float | None = None
    has_audio: bool = False

    def as_dict(self) -> dict[str, Any]:
        """Return what the page shows, as plain values: the name instead of the path."""
        shown = asdict(self)
        shown["name"] = shown.pop("path").name
        return shown


class Shelf:
    """The session's folder; a context manager that removes it.

    Attributes:
        files: What was put there, by role.
        result: The last job's output.
    """

    def __init__(self) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="mvstylizer-studio-"))
        self.files: dict[Role, Kept] = {}
        self.result: Path | None = None

    def __enter__(self) -> Shelf:
        return self

    def __exit__(self, *_: object) -> None:
        shutil.rmtree(self._folder, ignore_errors=True)

    @property
    def free_bytes(self) -> int:
        """Room on the disk."""
        return shutil.disk_usage(self._folder).free

    @contextmanager
    def arrival(self, name: str) -> Iterator[Path]:
        """Give a path for a file that arrives; what `put` does not take from there is removed.

        Args:
            name: The file's name where it comes from; nobody need have made it with care.
        """
        folder = Path(tempfile.mkdtemp(prefix="arrival-", dir=self._folder))
        try:
            yield folder / plain_name(name)
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def put(self, role: Role, arrived: Kept) -> Kept:
        """Keep a file in the place of the last one of its role; a result made from that one goes too."""
        folder = self._empty(role)
        kept = Kept(**{**vars(arrived), "path": arrived.path.rename(folder / arrived.path.name)})
        self.files[role] = kept
        self._empty("result")
        self.result = None
        return kept

    def new_result(self, source: Kept, style: Kept) -> Path:
        """Return the path for the result of a job; the last one is removed."""
        self.result = None
        suffix = ".jpg" if source.kind == "photo" else ".mp4"
        return self._empty("result") / f"{source.path.stem}-{style.path.stem}{suffix}"

    def line(self, error: MVStylizerError) -> str:
        """Return an error as the command line says it, with the file's name where it has our path."""
        return _without_folder(str(error), self._folder)

    def _empty(self, name: str) -> Path:
        folder = self._folder / name
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        return folder


def look_into(path: Path, role: Role) -> Kept:
    """Look into a file as `mvstylizer stylize` does.

    Args:
        path: The file.
        role: What it shall be used as.

    Raises:
        PhotoError: A style that is no photo.
        VideoError: A source that is neither a photo nor a video.
    """
    if role == "style" or is_photo(path):
        height, width = read_photo(path).shape[:2]
        return Kept(path, "photo", width, height)
    with VideoReader(path) as reader:
        info = reader.info
    seconds = None if info.duration is None else float(info.duration)
    return Kept(path, "video", info.width, info.height, seconds, float(info.rate), info.has_audio)


def plain_name(name: str) -> str:
    """Return the last part of a name, printable, and not endless."""
    last = name.replace("\\", "/").rpartition("/")[2]
    printable = "".join(char for char in last if char.isprintable()).strip(" .")
    stem, dot, suffix = (printable or "file").rpartition(".")
    return f"{(stem or suffix)[:MAX_NAME]}{dot}{suffix[:10]}" if stem else suffix[:MAX_NAME]


def _without_folder(line: str, folder: Path) -> str:
    """Remove `folder` and the one folder below it, in which every file of a shelf is, from a line."""
    before, found, after = line.partition(f"{folder}/")
    return before + _without_folder(after.partition("/")[2], folder) if found else line
