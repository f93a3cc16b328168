"""A result under its final name only when it is whole: written beside it first, then renamed."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mvstylizer.errors import MVStylizerError


class OutputError(MVStylizerError):
    """The result cannot be written where it was asked for."""


def check_output(target: Path, *inputs: Path) -> Path:
    """Say early, before any work is done, whether `target` can be written.

    Args:
        target: Where the result shall go. A file already there will be replaced.
        inputs: Files that are read and therefore must not be replaced.

    Returns:
        The absolute path with symbolic links followed, so that replacing it replaces the file, not the link.

    Raises:
        OutputError: The folder is missing or read-only, or `target` is a folder, a device, one of `inputs` or
            a name that the file system refuses.
    """
    resolved = target.resolve()
    try:
        exists = resolved.exists()
    except OSError as error:
        raise OutputError(
            f"{target.name} cannot be a file ({error.strerror})", "Choose another name"
        ) from error
    if not resolved.parent.is_dir():
        raise OutputError(f"There is no folder {resolved.parent}", "Create it or choose another output")
    if exists and not resolved.is_file():
        raise OutputError(f"{target} is not a file that can be replaced", "Name a file as the output")
    if any(source.exists() and source.resolve() == resolved for source in inputs):
        raise OutputError(f"The output {target} is also an input", "Choose another output")
    if not os.access(resolved.parent, os.W_OK | os.X_OK):
        raise OutputError(f"The folder {resolved.parent} cannot be written to", "Choose another output")
    return resolved


@contextmanager
def pending_file(target: Path) -> Iterator[Path]:
    """Give a temporary name beside `target`, which becomes `target` when the block ends well.

    The name keeps the suffix (writers choose a format by it) and starts with a dot (galleries skip it). Any
    exception, KeyboardInterrupt and SystemExit included, removes the file and leaves `target` as it was.

    Args:
        target: The final path, as `check_output` returned it.

    Yields:
        The path to write to; the same folder, so that the final rename is atomic.
    """
    pending = target.with_name(f".{secrets.token_hex(6)}.part{target.suffix}")
    try:
        yield pending
        os.replace(pending, target)
    finally:
        pending.unlink(missing_ok=True)
