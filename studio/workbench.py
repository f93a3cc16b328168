"""What the page works on: the shelf, the stylizer, and one job at a time."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from device_runtime.key_frames.policy import KeyFramePolicyError
from device_runtime.options import StylizeOptions
from device_runtime.pipeline import Progress, stylize_photo, stylize_video
from device_runtime.report import Report
from device_runtime.stylizers.fallback import Fallback
from mvstylizer.bundle import Bundle
from mvstylizer.errors import MVStylizerError
from mvstylizer.stylizer import Stylizer
from studio.errors import BusyError, NoSpaceError, StudioError, TooLargeError
from studio.job import Job
from studio.shelf import Kept, Role, Shelf

MEGABYTE: Final = 1_000_000
SPARE_BYTES: Final = 256 * MEGABYTE  # for the result, and so that the disk is never full


@dataclass(frozen=True)
class Engine:
    """What stylizes.

    Attributes:
        stylizer: Where key frames go.
        bundle: Holds the device's kernels.
        name: In words, for the page.
        fallback: What stands in for the stylizer while it is away.
    """

    stylizer: Stylizer
    bundle: Bundle
    name: str
    fallback: Fallback | None = None


class Workbench:
    """One session of the studio.

    Its methods are for one thread, the server's; the job has its own.

    Args:
        shelf: Where the files are.
        engine: What stylizes.
        max_upload: Bytes of a file at most.
    """

    def __init__(self, shelf: Shelf, engine: Engine, *, max_upload: int) -> None:
        self.shelf = shelf
        self.max_upload = max_upload
        self._engine = engine
        self._job: Job | None = None
        self._jobs = 0

    @property
    def state(self) -> dict[str, Any]:
        """Everything that the page shows, as plain values."""
        bundle = self._engine.bundle
        return {
            "engine": self._engine.name,
            "model": f"{bundle.name} version {bundle.version}",
            "max_upload": self.max_upload,
            "files": {role: kept.as_dict() for role, kept in self.shelf.files.items()},
            "result": self.shelf.result.name if self.shelf.result else None,
            "job": {"number": self._jobs, **self._job.status.as_dict()} if self._job else None,
        }

    def check_arrival(self, size: int) -> None:
        """Say before or while a file arrives whether it may.

        Args:
            size: Bytes, announced or counted.

        Raises:
            BusyError: A job runs.
            TooLargeError: It is too large.
            NoSpaceError: The disk has no room for it.
        """
        self._check_idle()
        if size > self.max_upload:
            raise TooLargeError(
                f"This file has more than the {self.max_upload / MEGABYTE:.0f} MB that the studio takes",
                "Cut it, start the studio with a larger --max-upload, or use mvstylizer stylize",
            )
        if size > self.shelf.free_bytes - SPARE_BYTES:
            raise NoSpaceError("The disk has no room for this file", "Free some space, or set TMPDIR")

    def put(self, role: Role, arrived: Kept) -> Kept:
        """Keep a file that arrived.

        Raises:
            BusyError: A job was started meanwhile.
        """
        self._check_idle()
        self._job = None
        return self.shelf.put(role, arrived)

    def start(self, recipe: StylizeOptions) -> None:
        """Start a job on the files of the shelf.

        Raises:
            BusyError: One runs.
            StudioError: A file is missing, or the policy is not understood.
        """
        self._check_idle()
        source, style = self.shelf.files.get("source"), self.shelf.files.get("style")
        if source is None or style is None:
            missing = "a style photo" if source else "a video"
            raise StudioError(f"There is no {missing.partition(' ')[2]} yet", f"Give {missing} first")
        try:
            recipe.selector(self._engine.bundle)
        except KeyFramePolicyError as error:
            raise StudioError(str(error)) from error
        self._jobs += 1
        out = self.shelf.new_result(source, style)
        self._job = Job(lambda progress: self._stylize(source, style, out, recipe, progress), self._line)

    def cancel(self) -> None:
        """Make the job end, if one runs."""
        if self._job is not None:
            self._job.cancel()

    def close(self) -> None:
        """Make the job end and wait for it, so that nothing writes any more."""
        if self._job is not None:
            self._job.cancel()
            self._job.wait()

    def _stylize(
        self, source: Kept, style: Kept, out: Path, recipe: StylizeOptions, progress: Progress
    ) -> Report:
        engine = self._engine
        if source.kind == "photo":
            report = stylize_photo(
                source.path, style.path, out, stylizer=engine.stylizer, strength=recipe.strength
            )
        else:
            report = stylize_video(
                source.path, style.path, out,
                stylizer=engine.stylizer, bundle=engine.bundle, fallback=engine.fallback, progress=progress,
                policy=recipe.policy, interpolation=recipe.interpolation, strength=recipe.strength,
            )  # fmt: skip
        self.shelf.result = out
        return report

    def _line(self, error: MVStylizerError) -> str:
        return self.shelf.line(error)

    def _check_idle(self) -> None:
        if self._job is not None and self._job.is_running:
            raise BusyError("A job is running", "Wait for it, or cancel it")
