"""Sizes from headers against OpenCV's own decoding, and small files that claim gigabytes."""

from __future__ import annotations

import io
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from device_runtime.media.photo import MAX_PIXELS, PhotoError, read_photo
from device_runtime.media.photo_header import header_size

NOISE = np.random.default_rng(0).integers(0, 256, (37, 91, 3)).astype(np.uint8)
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


def encoded(kind: str, **options: object) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(NOISE).save(stream, kind, **options)
    return stream.getvalue()


@pytest.mark.parametrize(
    "data",
    [
        encoded("PNG"),
        encoded("JPEG"),
        encoded("JPEG", progressive=True),
        encoded("WEBP"),
        encoded("WEBP", lossless=True),
        encoded("WEBP", exif=b"Exif\0\0II*\0\x08\0\0\0\0\0"),
        encoded("BMP"),
        encoded("GIF"),
        encoded("TIFF"),
        encoded("TIFF", compression="tiff_lzw"),
        encoded("TIFF", big_tiff=True),
        cv2.imencode(".tif", NOISE)[1].tobytes(),
    ],
    ids=lambda data: data[:4].hex(),
)
def test_the_size_is_the_decoders(data: bytes) -> None:
    assert header_size(data) == NOISE.shape[:2]
    for end in range(0, min(len(data), 60)):
        header_size(data[:end])


@settings(deadline=None)
@given(
    st.sampled_from([b"\x89PNG\r\n\x1a\n", b"\xff\xd8", b"RIFF____WEBP", b"BM", b"GIF", b"II*\0", b"MM\0+"]),
    st.binary(),
)
def test_damaged_headers_never_fail(begin: bytes, rest: bytes) -> None:
    size = header_size(begin + rest)
    assert size is None or len(size) == 2


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
    path.write_bytes(
        png(4000, 3000).replace(struct.pack(">II", 4000, 3000), struct.pack(">II", 4000, 300_000))
    )
    with pytest.raises(PhotoError, match="megapixels"):
        read_photo(path)
