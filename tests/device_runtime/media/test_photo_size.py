"""Small files that claim gigabytes, and pictures too thin for the network, are refused before decoding."""

from __future__ import annotations

import struct
import subprocess
import sys
import zlib
from pathlib import Path

import pytest

from device_runtime.media.photo import MAX_PIXELS, PhotoError, read_photo

ROOT = Path(__file__).parents[3]


def png(width: int, height: int, bits: int = 1) -> bytes:
    """A gray PNG of zeros, a thousand times smaller than its pixels."""

    def chunk(name: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    row = bytes(1 + (width * bits + 7) // 8)
    packer = zlib.compressobj(9)
    body = b"".join(packer.compress(row) for _ in range(height)) + packer.flush()
    header = struct.pack(">IIBBBBB", width, height, bits, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", body) + chunk(b"IEND", b"")


def test_a_photo_of_gigapixels_is_refused_before_it_is_decoded(tmp_path: Path) -> None:
    bomb = tmp_path / "bomb.png"
    bomb.write_bytes(png(30_000, 30_000))
    assert bomb.stat().st_size < 1_000_000
    code = f"""
import resource, sys
from pathlib import Path
from device_runtime.media.photo import PhotoError, read_photo
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try:
    read_photo(Path({str(bomb)!r}))
except PhotoError as error:
    print(error)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    line, grown = done.stdout.splitlines()
    assert "30000×30000 pixels, more than 210 megapixels" in line
    assert int(grown) < 100_000  # kB


def test_a_thin_photo_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "thin.png"
    for height, width in ((1, 37), (37, 1), (2, 73)):
        path.write_bytes(png(width, height))
        with pytest.raises(PhotoError, match="thinner than 1:36"):
            read_photo(path)
    path.write_bytes(png(72, 2))
    assert read_photo(path).shape == (2, 72, 3)


def test_a_large_photo_is_read(tmp_path: Path) -> None:
    path = tmp_path / "large.png"
    path.write_bytes(png(4000, 3000))
    assert read_photo(path).shape == (3000, 4000, 3)
    assert MAX_PIXELS > 16320 * 12240  # the largest phone cameras
