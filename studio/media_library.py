"""Files of a session: at most one source, one style photo and one result, in a temporary folder."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final, Literal

from device_runtime.media.photo import is_photo, read_photo
from device_runtime.media.reader import VideoReader
from mvstylizer.errors import MVStylizerError
from mvstylizer.private_folder import PrivateFolder

Role = Literal["source", "style"]
Kind = Literal["video", "photo"]
ROLES: Final[tuple[Role, ...]] = ("source", "style")
MAX_STEM: Final = 100  # bytes; file systems allow 255, and a result's name has the stems of two files
MAX_SUFFIX: Final = 16  # bytes


@dataclass(frozen=True)
class MediaFile:
    """A valid input file.

    Attributes:
        path: The file.
        kind: Video or photo.
        width: Pixels, upright.
        height: Pixels, upright.
        seconds: Duration of a video; None if the file does not declare it, and for a photo.
        rate: Average frames per second of a video.
        has_audio: Whether it is a video with sound.
    """

    path: Path
    kind: Kind
    width: int
    height: int
    seconds: float | None = None
    rate: float | None = None
    has_audio: bool = False

    def as_dict(self) -> dict[str, Any]:
        """Return the fields as JSON-serializable values, with the name instead of the path."""
        shown = asdict(self)
        shown["name"] = shown.pop("path").name
        return shown


class MediaLibrary:
    """The session's folder; a context manager that deletes it, and what a killed studio left.

    Attributes:
        files: The inputs, by role.
        result: Output of the last job.
    """

    def __init__(self) -> None:
        self._private = PrivateFolder("mvstylizer-studio-")
        self._folder = self._private.path / "files"
        self._folder.mkdir()
        self.files: dict[Role, MediaFile] = {}
        self.result: Path | None = None

    def __enter__(self) -> MediaLibrary:
        return self

    def __exit__(self, *_: object) -> None:
        self._private.delete()

    @property
    def free_bytes(self) -> int:
        """Free disk space in bytes."""
        return shutil.disk_usage(self._folder).free

    @contextmanager
    def upload(self, name: str) -> Iterator[Path]:
        """Provide a path for an upload; the file is deleted unless `put` moves it.

        Args:
            name: The file's name as sent by the browser; untrusted.
        """
        folder = Path(tempfile.mkdtemp(prefix="upload-", dir=self._folder))
        try:
            yield folder / plain_name(name)
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def put(self, role: Role, uploaded: MediaFile) -> MediaFile:
        """Replace the file of a role, and delete the result made from the old one."""
        folder = self._empty(role)
        kept = replace(uploaded, path=uploaded.path.rename(folder / uploaded.path.name))
        self.files[role] = kept
        self._empty("result")
        self.result = None
        return kept

    def new_result(self, source: MediaFile, style: MediaFile) -> Path:
        """Return the path for the result of a job, and delete the last result."""
        self.result = None
        suffix = ".jpg" if source.kind == "photo" else ".mp4"
        return self._empty("result") / f"{source.path.stem}-{style.path.stem}{suffix}"

    def line(self, error: MVStylizerError) -> str:
        """Return an error in the command line's words, with file names instead of paths in this folder."""
        return _without_folder(str(error), self._folder)

    def _empty(self, name: str) -> Path:
        folder = self._folder / name
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        return folder


def inspect_file(path: Path, role: Role) -> MediaFile:
    """Check a file like `mvstylizer stylize` does, and return its properties.

    Args:
        path: The file.
        role: Its role.

    Raises:
        PhotoError: A style is not a photo.
        VideoError: A source is neither a photo nor a video.
    """
    if role == "style" or is_photo(path):
        height, width = read_photo(path).shape[:2]
        return MediaFile(path, "photo", width, height)
    with VideoReader(path) as reader:
        info = reader.info
    seconds = None if info.duration is None else float(info.duration)
    return MediaFile(path, "video", info.width, info.height, seconds, float(info.rate), info.has_audio)


def plain_name(name: str) -> str:
    """Return the last part of a path as a safe file name: printable and of limited length."""
    last = name.replace("\\", "/").rpartition("/")[2]
    printable = "".join(char for char in last if char.isprintable()).strip(" .")
    stem, dot, suffix = (printable or "file").rpartition(".")
    if not stem:
        return _cut(suffix, MAX_STEM)
    return f"{_cut(stem, MAX_STEM)}{dot}{_cut(suffix, MAX_SUFFIX)}"


def _cut(text: str, size: int) -> str:
    """Return the beginning of a text that takes at most `size` bytes."""
    return text.encode(errors="ignore")[:size].decode(errors="ignore")


def _without_folder(line: str, folder: Path) -> str:
    """Remove `folder` and the subfolder, in which every file of a library is, from a line."""
    before, found, after = line.partition(f"{folder}/")
    return before + _without_folder(after.partition("/")[2], folder) if found else line
