"""Shrunk libraries, loaded by this machine's own loader."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np

from device_runtime.pack import elf

LIBRARIES = sorted(Path(np.__file__).parent.rglob("*.so"))
LOADED = """
import ctypes, sys
import numpy
for path in sys.argv[1:]:
    ctypes.CDLL(path)
"""


def test_a_shrunk_library_is_smaller_and_loads(tmp_path: Path) -> None:
    """NumPy's modules have been through patchelf, which moves tables after the segments."""
    copies = []
    for path in LIBRARIES:
        shrunk = elf.compacted(path.read_bytes())
        assert len(shrunk) <= path.stat().st_size + (1 << 16)
        copies.append(tmp_path / path.name)
        copies[-1].write_bytes(shrunk)
    # NumPy's own copies are loaded first, so that what the modules link to is found without their RPATH.
    done = subprocess.run([sys.executable, "-c", LOADED, *map(str, copies)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_a_segment_lies_where_its_address_wants_it() -> None:
    content = LIBRARIES[0].read_bytes()
    parts = [part for part in elf._segments(elf.compacted(content)) if part.kind == 1]
    assert len(parts) > 1
    assert all((part.offset - part.address) % (1 << 14) == 0 for part in parts)
    assert [part.address for part in parts] == [p.address for p in elf._segments(content) if p.kind == 1]
    for part, before in zip(parts, [p for p in elf._segments(content) if p.kind == 1], strict=True):
        found = elf.compacted(content)[part.offset + 64 : part.offset + part.size]
        assert found == content[before.offset + 64 : before.offset + before.size]


def test_the_architecture_of_a_program(tmp_path: Path) -> None:
    assert elf.machine_of(Path(sys.executable).resolve()) in ("x86-64", "arm64")
    assert elf.machine(b"\x7fELF" + bytes(14) + b"\xb7\0") == "arm64"
    assert elf.machine(b"#!/bin/sh\nand a long comment") is None
    assert elf.machine(b"\x7fELF") is None
