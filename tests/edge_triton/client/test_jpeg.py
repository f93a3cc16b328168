"""JPEG checks against OpenCV's encoder and another decoder."""

from __future__ import annotations

import io

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from edge_triton.client.jpeg import JpegError, decode_jpeg, encode_jpeg, jpeg_size

MANY = 1 << 24


def picture(height: int, width: int, seed: int = 0) -> np.ndarray:
    noise = np.random.default_rng(seed).integers(0, 256, (height, width, 3)).astype(np.uint8)
    return cv2.GaussianBlur(noise, (0, 0), 2)


@settings(deadline=None)
@given(
    st.integers(1, 300),
    st.integers(1, 300),
    st.integers(1, 100),
    st.booleans(),
    st.sampled_from(["RGB", "L", "CMYK"]),
    st.binary(max_size=70_000 // 8),
)
def test_size_and_pixels_match_another_decoder(
    height: int, width: int, quality: int, progressive: bool, mode: str, comment: bytes
) -> None:
    stream = io.BytesIO()
    image = Image.fromarray(picture(height, width)).convert(mode)
    image.save(stream, "JPEG", quality=quality, progressive=progressive, comment=comment)
    data = stream.getvalue()
    assert jpeg_size(data) == (height, width)
    decoded = decode_jpeg(data, MANY)
    assert decoded.shape == (height, width, 3)
    if mode != "CMYK":
        other = np.asarray(Image.open(stream).convert("RGB")).astype(int)
        assert np.abs(decoded - other).max() <= 4


def test_orientation_tags_are_ignored() -> None:
    stream = io.BytesIO()
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(picture(40, 60)).save(stream, "JPEG", exif=exif)
    assert decode_jpeg(stream.getvalue(), MANY).shape == (40, 60, 3)


@given(st.integers(0, 200), st.integers(0, 2**31))
@settings(deadline=None)
def test_damaged_files_are_rejected_or_fully_decoded(count: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    data = bytearray(encode_jpeg(picture(32, 48), 80))
    for at in rng.integers(0, len(data), count):
        data[at] = rng.integers(0, 256)
    try:
        height, width = jpeg_size(bytes(data))
        assert decode_jpeg(bytes(data), 10_000).shape == (height, width, 3)
        assert height * width <= 10_000
    except JpegError:
        pass


@given(st.data())
def test_truncated_files_are_rejected(data: st.DataObject) -> None:
    whole = encode_jpeg(picture(32, 48), 80)
    cut = data.draw(st.integers(0, len(whole) - 2))
    with pytest.raises(JpegError):
        decode_jpeg(whole[:cut], MANY)


def test_pixel_limit_applies_before_decoding() -> None:
    whole = encode_jpeg(picture(32, 48), 80)
    assert decode_jpeg(whole, 32 * 48).shape == (32, 48, 3)
    with pytest.raises(JpegError, match="larger"):
        decode_jpeg(whole, 32 * 48 - 1)


def test_image_too_large_for_a_jpeg_is_rejected() -> None:
    for side in (65_501, 65_535, 70_000):
        for shape in ((1, side, 3), (side, 1, 3)):
            with pytest.raises(JpegError, match="too large"):
                encode_jpeg(np.zeros(shape, np.uint8), 80)
    assert jpeg_size(encode_jpeg(np.zeros((1, 65_500, 3), np.uint8), 80)) == (1, 65_500)
