"""Copy files to the phone if their content differs."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path

from device_runtime.bench.adb import Phone
from device_runtime.bench.adb_errors import AdbError
from mvstylizer.bundle import sha256_of

FOLDER = "/data/local/tmp/mvstylizer-bench"


def push_changed(phone: Phone, files: Mapping[str, Path], folder: str = FOLDER) -> list[str]:
    """Copy the files that the phone lacks or whose SHA-256 differs there.

    Only the content counts: a file of the same size and date may be another model.

    Args:
        phone: The phone.
        files: Name in `folder` → local file.
        folder: Folder on the phone; created if missing.

    Returns:
        Names of the copied files.

    Raises:
        AdbError: The phone cannot create the folder, or a copy fails (see `Phone.push`).
    """
    made = phone.shell(f"mkdir -p {shlex.quote(folder)}")
    if made.exit_code:
        raise AdbError(f"Phone {phone.serial} cannot create {folder}: {made.stderr.strip()}")
    there = _hashes(phone, [f"{folder}/{name}" for name in files])
    copied = []
    for name, local in files.items():
        remote = f"{folder}/{name}"
        if there.get(remote) != sha256_of(local):
            phone.push(local, remote)
            copied.append(name)
    return copied


def _hashes(phone: Phone, paths: list[str]) -> dict[str, str]:
    # Missing files are reported on stderr and by the exit code; the others are still listed.
    listed = phone.shell(f"sha256sum {shlex.join(paths)}", seconds=120)
    rows = (line.split(maxsplit=1) for line in listed.stdout.splitlines())
    return {row[1]: row[0] for row in rows if len(row) == 2}
