"""State of the page: the media library, the stylizer, and one job at a time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from device_runtime.options import StylizeOptions
from device_runtime.pipeline import Progress, stylize_photo, stylize_video
from device_runtime.report import Report
from device_runtime.stylizers.fallback import Fallback
from mvstylizer.bundle import Bundle
from mvstylizer.errors import MVStylizerError
from mvstylizer.stylizer import Stylizer
from studio.errors import BusyError, DiskFullError, StudioError, TooLargeError
from studio.job import Job
from studio.media_library import MediaFile, MediaLibrary, Role
from studio.previews import Previews

MEGABYTE: Final = 1_000_000
MIN_FREE_BYTES: Final = 256 * MEGABYTE  # kept free for the result


@dataclass(frozen=True)
class StudioBackend:
    """What the studio stylizes with.

    Attributes:
        stylizer: Stylizes key frames.
        bundle: Provides the TFLite kernels.
        name: Display name.
        fallback: Loads a stylizer for the time that `stylizer` is unavailable.
    """

    stylizer: Stylizer
    bundle: Bundle
    name: str
    fallback: Fallback | None = None


class Workbench:
    """One session of the studio.

    Not thread-safe: for the server's thread only. The job runs in its own thread.

    Args:
        library: The session's files.
        backend: Stylizes.
        max_upload: Maximum size of a file in bytes.
    """

    def __init__(self, library: MediaLibrary, backend: StudioBackend, *, max_upload: int) -> None:
        self.library = library
        self.max_upload = max_upload
        self._backend = backend
        self._previews = Previews(backend.stylizer, backend.bundle)
        self._job: Job | None = None
        self._jobs = 0

    @property
    def state(self) -> dict[str, Any]:
        """Everything that the page shows, as JSON-serializable values."""
        bundle = self._backend.bundle
        return {
            "backend": self._backend.name,
            "model": f"{bundle.name} version {bundle.version}",
            "max_upload": self.max_upload,
            "files": {role: kept.as_dict() for role, kept in self.library.files.items()},
            "result": self.library.result.name if self.library.result else None,
            "job": {"number": self._jobs, **self._job.status.as_dict()} if self._job else None,
        }

    def check_upload(self, size: int) -> None:
        """Check whether an upload is allowed, before or while it arrives.

        Args:
            size: Declared or received bytes.

        Raises:
            BusyError: A job is running.
            TooLargeError: The file is too large.
            DiskFullError: The disk has no room for it.
        """
        self._check_idle()
        if size > self.max_upload:
            raise TooLargeError(
                f"This file is larger than {self.max_upload / MEGABYTE:.0f} MB, the studio's limit",
                "Trim it, start the studio with a larger --max-upload, or use mvstylizer stylize",
            )
        if size > self.library.free_bytes - MIN_FREE_BYTES:
            raise DiskFullError("The disk has no room for this file", "Free some space, or set TMPDIR")

    def put(self, role: Role, uploaded: MediaFile) -> MediaFile:
        """Take over an uploaded file.

        Raises:
            BusyError: A job was started in the meantime.
        """
        self._check_idle()
        self._job = None
        return self.library.put(role, uploaded)

    def start(self, options: StylizeOptions) -> None:
        """Start a job on the files of the library.

        Raises:
            BusyError: One is running.
            StudioError: A file is missing.
        """
        source, style = self._files()
        self._jobs += 1
        out = self.library.new_result(source, style)
        self._job = Job(lambda progress: self._stylize(source, style, out, options, progress), self._line)

    def preview(self, name: str, at_s: float) -> Callable[[], bytes]:
        """Return what makes a picture of one frame; see `Previews.jpeg`. It takes a while: call it elsewhere.

        Raises:
            BusyError: A job is running.
            StudioError: A file is missing.
        """
        files = self._files()
        return lambda: self._previews.jpeg(*files, name, at_s)

    def cancel(self) -> None:
        """Cancel the job, if one is running."""
        if self._job is not None:
            self._job.cancel()

    def close(self) -> None:
        """Cancel the job and wait until it has stopped writing."""
        if self._job is not None:
            self._job.cancel()
            self._job.wait()
        if self._job is None or not self._job.is_running:
            self._previews.close()

    def _files(self) -> tuple[MediaFile, MediaFile]:
        """Return source and style; raises BusyError or StudioError."""
        self._check_idle()
        source, style = self.library.files.get("source"), self.library.files.get("style")
        if source is None or style is None:
            missing = "style photo" if source else "video"
            raise StudioError(f"There is no {missing} yet", f"Add a {missing} first")
        return source, style

    def _stylize(
        self, source: MediaFile, style: MediaFile, out: Path, options: StylizeOptions, progress: Progress
    ) -> Report:
        backend = self._backend
        with self._previews.stylizing:
            if source.kind == "photo":
                report = stylize_photo(
                    source.path, style.path, out, options=options, stylizer=backend.stylizer
                )
            else:
                report = stylize_video(
                    source.path,
                    style.path,
                    out,
                    options=options,
                    stylizer=backend.stylizer,
                    bundle=backend.bundle,
                    progress=progress,
                    fallback=backend.fallback,
                )
        self.library.result = out
        return report

    def _line(self, error: MVStylizerError) -> str:
        return self.library.line(error)

    def _check_idle(self) -> None:
        if self._job is not None and self._job.is_running:
            raise BusyError("A job is running", "Wait until it is done, or cancel it")
