"""Atomic output files: written under a temporary name in the same folder, then renamed."""

from __future__ import annotations

import errno
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from mvstylizer.errors import MVStylizerError

_HINTS: Final = {
    errno.ENOSPC: "Free some space or choose another output",
    errno.EDQUOT: "Free some space or choose another output",
    errno.EFBIG: "Choose an output on a file system that allows larger files",
    errno.ENOMEM: "Close other programs or raise the memory limit",
    errno.EROFS: "Choose an output in a folder that is not read-only",
    errno.EACCES: "Choose an output in a folder that is writable",
    errno.EPERM: "Choose an output in a folder that is writable",
    errno.EIO: "Check the disk or choose another output",
}


class OutputError(MVStylizerError):
    """Error raised when the result cannot be written to the requested path."""


def write_hint(error: Exception) -> str:
    """Return what to do about an error while a file is written, by its cause."""
    return _HINTS.get(getattr(error, "errno", None) or 0, "Choose another output or format")


def check_output(target: Path, *inputs: Path) -> Path:
    """Check early, before any work is done, whether `target` can be written.

    Args:
        target: Path of the result. An existing file will be replaced.
        inputs: Files that are read and must not be replaced.

    Returns:
        The absolute path with symbolic links resolved, so that replacing it replaces the file, not the link.

    Raises:
        OutputError: The folder is missing or read-only, or `target` is a folder, a device, one of `inputs` or
            a name that the file system rejects.
    """
    resolved = target.resolve()
    try:
        exists = resolved.exists()
    except OSError as error:
        raise OutputError(
            f"{target.name} is not a valid file name ({error.strerror})", "Choose another name"
        ) from error
    if not resolved.parent.is_dir():
        raise OutputError(f"There is no folder {resolved.parent}", "Create it or choose another output")
    if exists and not resolved.is_file():
        raise OutputError(f"{target} exists and is not a regular file", "Choose another output")
    if any(os.path.exists(source) and source.resolve() == resolved for source in inputs):
        raise OutputError(f"The output {target} is also an input", "Choose another output")
    if not os.access(resolved.parent, os.W_OK | os.X_OK):
        raise OutputError(f"The folder {resolved.parent} is not writable", "Choose another output")
    return resolved


def make_folder(folder: Path) -> None:
    """Create an output folder if it is missing.

    Raises:
        OutputError: It cannot be created.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(
            f"The folder {folder} cannot be created ({error.strerror})", "Choose another output"
        ) from error


@contextmanager
def pending_file(target: Path) -> Iterator[Path]:
    """Provide a temporary path next to `target`, renamed to `target` when the block succeeds.

    The name keeps the suffix (which selects the format) and starts with a dot (so that galleries skip it).
    Any exception, including KeyboardInterrupt and SystemExit, removes the file and leaves `target` unchanged.

    Args:
        target: The final path, from `check_output`.

    Yields:
        The path to write to, in the same folder, so that the final rename is atomic.
    """
    pending = target.with_name(f".{secrets.token_hex(6)}.part{target.suffix}")
    try:
        yield pending
        os.replace(pending, target)
    finally:
        pending.unlink(missing_ok=True)
