"""Inspect and shrink ELF files, without binutils for another architecture."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

MAGIC: Final = b"\x7fELF"
AARCH64: Final = 183
X86_64: Final = 62
_ARM: Final = 40
_NAMES: Final = {AARCH64: "arm64", _ARM: "arm (32 bits)", X86_64: "x86-64", 3: "x86 (32 bits)", 243: "RISC-V"}
_LOAD: Final = 1
_HEADER: Final = struct.Struct("<QQQIHHHHHH")  # from e_entry on
_PROGRAM: Final = struct.Struct("<IIQQQQQQ")


class Segment(NamedTuple):
    """A program header: type, offset in the file, address, size in the file, and alignment in bytes."""

    kind: int
    offset: int
    address: int
    size: int
    alignment: int


def machine(head: bytes) -> str | None:
    """Return the architecture that an ELF file is for, for example ``arm64``; None for another file.

    Args:
        head: The file's first 20 bytes or more.
    """
    if len(head) < 20 or head[:4] != MAGIC:
        return None
    number = int.from_bytes(head[18:20], "little")
    return _NAMES.get(number, f"machine {number}")


def machine_of(path: Path) -> str | None:
    """Return the architecture of a file; see `machine`."""
    with path.open("rb") as stream:
        return machine(stream.read(20))


def page_alignment(content: bytes) -> int:
    """Return the largest page size in bytes that a 64-bit ELF file can be mapped with."""
    return min((part.alignment for part in _segments(content) if part.kind == _LOAD), default=1 << 16)


def compacted(content: bytes, page_size: int = 1 << 14) -> bytes:
    """Return a 64-bit ELF file with what a loader reads and nothing else.

    Symbols, debugging information and padding to 64 kB pages are half of a wheel's libraries. Addresses stay,
    so that only the segments' places in the file change: each is as far from a page's start as its address.

    Args:
        content: A program or shared library.
        page_size: Largest page size in bytes that the result supports; Android's largest is 16 kB.
    """
    loads = sorted((part for part in _segments(content) if part.kind == _LOAD), key=lambda part: part.offset)
    result = bytearray()
    moved: list[tuple[Segment, int]] = []
    for part in loads:
        gap = (part.address - len(result)) % page_size if moved else 0
        result += bytes(gap)
        moved.append((part, len(result)))
        result += content[part.offset : part.offset + part.size]

    def place(offset: int) -> int:
        for part, start in moved:
            if part.offset <= offset <= part.offset + part.size:
                return start + offset - part.offset
        return 0

    fields = list(_HEADER.unpack_from(content, 24))
    table, entry, count = fields[1], fields[5], fields[6]
    fields[1] = place(table)
    fields[2] = fields[8] = fields[9] = 0  # no section headers
    _HEADER.pack_into(result, 24, *fields)
    for number in range(count):
        header = list(_PROGRAM.unpack_from(content, table + number * entry))
        header[2] = place(header[2])
        if header[0] == _LOAD:
            header[7] = min(header[7], page_size)
        _PROGRAM.pack_into(result, fields[1] + number * entry, *header)
    return bytes(result)


def _segments(content: bytes) -> Iterator[Segment]:
    _, start, _, _, _, entry, count, _, _, _ = _HEADER.unpack_from(content, 24)
    for number in range(count):
        kind, _, offset, address, _, size, _, alignment = _PROGRAM.unpack_from(
            content, start + number * entry
        )
        yield Segment(kind, offset, address, size, alignment)
