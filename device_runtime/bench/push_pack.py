"""Bring a pack to the phone, once per content."""

from __future__ import annotations

import shlex
import tarfile
import tempfile
from pathlib import Path
from typing import Final

from device_runtime.bench.adb import Phone
from device_runtime.bench.adb_errors import AdbError, PhoneStorageFullError
from device_runtime.bench.phone import PhoneRecord
from device_runtime.pack.pack import Pack

PARENT: Final = "/data/local/tmp"
_UNPACK_TIMEOUT_S: Final = 600.0


def push_pack(phone: Phone, record: PhoneRecord, pack: Pack) -> str:
    """Return the pack's folder on the phone, copied there first unless one of the same content is there.

    Args:
        phone: The phone.
        record: Its description.
        pack: The pack.

    Raises:
        PhoneStorageFullError: It needs more space than is free.
        AdbError: The phone cannot run it, or a copy fails.
    """
    check_phone(phone, record, pack)
    folder = f"{PARENT}/mvstylizer-{pack.content[:16]}"
    if phone.shell(f"test -f {folder}/complete").exit_code == 0:
        return folder
    _check_space(phone, 2 * pack.bytes)  # the archive and its content
    archive, part = f"{folder}.tar", f"{folder}.part"
    with tempfile.TemporaryDirectory(prefix="mvstylizer-") as temporary:
        local = Path(temporary) / "pack.tar"
        with tarfile.open(local, "w") as tar:
            tar.add(pack.path, arcname=".")
        try:
            phone.shell(f"rm -rf {part} {folder}")
            phone.push(local, archive)
            _unpack(phone, archive, part, folder)
        finally:
            if phone.is_connected():
                phone.shell(f"rm -rf {archive} {part}")
    return folder


def check_phone(phone: Phone, record: PhoneRecord, pack: Pack) -> None:
    """Check that a phone can run a pack.

    Raises:
        AdbError: It has a 32-bit user space, another architecture, or larger pages than the pack supports.
    """
    if record.abi != "arm64-v8a":
        raise AdbError(
            f"Phone {phone.serial} runs {record.abi or 'unknown'} programs, and the pack is for arm64-v8a",
            "Use a phone with a 64-bit Android on arm64",
        )
    if record.page_size and record.page_size > pack.page_size:
        raise AdbError(
            f"Phone {phone.serial} has pages of {record.page_size // 1024} kB, and the pack supports"
            f" {pack.page_size // 1024}",
            "Run: mvstylizer device pack",
        )


def _check_space(phone: Phone, needed: int) -> None:
    listed = phone.shell(f"df -k {PARENT}").stdout.splitlines()
    # The header is in the phone's language; the columns are not.
    columns = listed[-1].split() if listed else []
    free = 1024 * int(columns[3]) if len(columns) > 4 and columns[3].isdecimal() else None
    if free is not None and free < needed:
        raise PhoneStorageFullError(
            f"Phone {phone.serial} has {free / 1e6:.0f} MB free, and the pack needs {needed / 1e6:.0f}",
            "Free some storage on it",
        )


def _unpack(phone: Phone, archive: str, part: str, folder: str) -> None:
    command = f"mkdir -p {part} && tar xf {archive} -C {part} && touch {part}/complete && mv {part} {folder}"
    done = phone.shell(command, _UNPACK_TIMEOUT_S)
    if done.exit_code:
        reason = (done.stderr or done.stdout).strip().splitlines()[-1:] or ["no reason given"]
        if "No space left" in reason[0]:
            raise PhoneStorageFullError(
                f"No space left on phone {phone.serial} while unpacking", "Free some storage on it"
            )
        raise AdbError(f"Phone {phone.serial} cannot unpack {shlex.quote(archive)}: {reason[0]}")
