"""Run one job on several phones at once, each with result files of its own."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import typer

if TYPE_CHECKING:
    from device_runtime.bench.adb import Phone

Outcome = TypeVar("Outcome")


def phones_of(adb: Path | None, serials: Sequence[str]) -> list[Phone]:
    """Return the phones with these serials, or the only one.

    Raises:
        AdbError: One of them is not ready, or none was chosen of several.
    """
    from device_runtime.bench.adb import Adb, find_adb

    client = Adb(find_adb(adb))
    client.check_server()
    return [client.phone(serial) for serial in serials] if serials else [client.phone()]


def on_phones(phones: Sequence[Phone], run: Callable[[Phone], Outcome]) -> list[Outcome]:
    """Run a job on all phones at once; one that fails does not stop the others.

    Raises:
        MVStylizerError: The last one that failed, after the others ended; all are printed.
    """
    if len(phones) == 1:
        return [run(phones[0])]
    with ThreadPoolExecutor(len(phones)) as pool:
        jobs = [pool.submit(run, phone) for phone in phones]
        errors = [job.exception() for job in jobs]
    failed = [(phone, error) for phone, error in zip(phones, errors, strict=True) if error]
    for phone, error in failed[:-1]:
        typer.echo(f"mvstylizer: {phone.serial}: {error}", err=True)
    if failed:
        raise failed[-1][1]
    return [job.result() for job in jobs]


def file_of(path: Path, phone: Phone) -> Path:
    """Return a phone's own file: ``rows.jsonl`` becomes ``rows-SERIAL.jsonl``."""
    serial = re.sub(r"[^\w.-]", "_", phone.serial)
    return path.with_stem(f"{path.stem}-{serial}")
