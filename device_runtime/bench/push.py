"""Files on the phone, copied only when their content differs."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path

from device_runtime.bench.adb import AdbError, Phone
from mvstylizer.bundle import sha256_of

FOLDER = "/data/local/tmp/mvstylizer-bench"


def push_changed(phone: Phone, files: Mapping[str, Path], folder: str = FOLDER) -> list[str]:
    """Copy those files whose SHA-256 on the phone is another, or that it lacks.

    A file of the same size and date may still be another model, so content alone decides.

    Args:
        phone: Where to.
        files: Name in `folder` → file here.
        folder: On the phone; made if missing.

    Returns:
        Names that were copied.

    Raises:
        AdbError: The phone cannot make the folder, or a copy fails (see `Phone.push`).
    """
    made = phone.shell(f"mkdir -p {shlex.quote(folder)}")
    if made.exit_code:
        raise AdbError(f"Phone {phone.serial} cannot make {folder}: {made.stderr.strip()}")
    there = _hashes(phone, [f"{folder}/{name}" for name in files])
    copied = []
    for name, local in files.items():
        remote = f"{folder}/{name}"
        if there.get(remote) != sha256_of(local):
            phone.push(local, remote)
            copied.append(name)
    return copied


def _hashes(phone: Phone, paths: list[str]) -> dict[str, str]:
    # Files that are missing are told on stderr and by the exit code; the others are listed all the same.
    listed = phone.shell(f"sha256sum {shlex.join(paths)}", seconds=120)
    rows = (line.split(maxsplit=1) for line in listed.stdout.splitlines())
    return {row[1]: row[0] for row in rows if len(row) == 2}
