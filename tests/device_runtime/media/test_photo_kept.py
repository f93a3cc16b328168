"""What a photo keeps: profile, EXIF data, transparency, depth; read back with Pillow or OpenCV alone."""

from __future__ import annotations

import io
import os
import struct
import zlib
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image, ImageCms
from pillow_heif import register_heif_opener

from device_runtime.interpolation.deep_transfer import transferred_deep
from device_runtime.media.photo import (
    Photo,
    PhotoError,
    is_photo,
    open_photo,
    read_photo,
    write_like,
    write_photo,
)
from tests.device_runtime.clips import moving_square

register_heif_opener()
PICTURE = moving_square(1, 64, 48)


def p3_profile() -> bytes:
    """A small ICC profile (version 2, matrix and gamma) of Display P3's primaries."""

    def s15(value: float) -> bytes:
        return struct.pack(">i", round(value * 65536))

    def xyz(*values: float) -> bytes:
        return b"XYZ \0\0\0\0" + b"".join(map(s15, values))

    name = b"Display P3\0"
    gamma = b"curv\0\0\0\0" + struct.pack(">IH", 1, round(2.2 * 256)) + b"\0\0"
    tags = [
        (b"desc", b"desc\0\0\0\0" + struct.pack(">I", len(name)) + name + b"\0" * 78),
        (b"wtpt", xyz(0.9642, 1, 0.8249)),
        (b"rXYZ", xyz(0.51512, 0.2412, -0.00105)),
        (b"gXYZ", xyz(0.29198, 0.69225, 0.04189)),
        (b"bXYZ", xyz(0.1571, 0.06657, 0.78407)),
        *((kind, gamma) for kind in (b"rTRC", b"gTRC", b"bTRC")),
    ]
    table, body = struct.pack(">I", len(tags)), b""
    for kind, content in tags:
        content += b"\0" * (-len(content) % 4)
        table += kind + struct.pack(">II", 132 + 12 * len(tags) + len(body), len(content))
        body += content
    size = 128 + len(table) + len(body)
    head = struct.pack(">I", size) + b"lcms" + struct.pack(">I", 0x02400000) + b"mntrRGB XYZ "
    head += struct.pack(">6H", 2024, 1, 1, 0, 0, 0) + b"acsp" + b"\0" * 28
    return head + s15(0.9642) + s15(1) + s15(0.8249) + b"\0" * 48 + table + body


def in_srgb(encoded: bytes, rgb: np.ndarray) -> np.ndarray:
    """Convert with the formula of a matrix profile, in float; independent of Little CMS."""
    p3 = np.array([[0.51512, 0.29198, 0.1571], [0.2412, 0.69225, 0.06657], [-0.00105, 0.04189, 0.78407]])
    srgb = np.array([[0.43607, 0.38515, 0.14307], [0.22249, 0.71687, 0.06061], [0.01392, 0.09708, 0.71410]])
    linear = np.clip(((rgb / 255) ** 2.2) @ (np.linalg.inv(srgb) @ p3).T, 0, 1)
    curve = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    return np.asarray(curve * 255)


def exif(orientation: int = 1) -> Image.Exif:
    made = Image.Exif()
    made[0x0112], made[0x010F], made[0x0132] = orientation, "Maker", "2024:05:06 07:08:09"
    made.get_ifd(0x8769)[0x9003] = "2024:05:06 07:08:08"
    made.get_ifd(0x8825)[1] = "N"
    return made


def kept_exif(path: Path) -> dict[int, Any]:
    with Image.open(path) as image:
        found = image.getexif()
        return {**found, **found.get_ifd(0x8769), **found.get_ifd(0x8825)}


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".tif", ".avif", ".heic"])
def test_every_format_is_read_and_written_with_exif_and_profile(tmp_path: Path, suffix: str) -> None:
    Image.fromarray(PICTURE).save(tmp_path / "in.jpg", quality=98, exif=exif(), icc_profile=p3_profile())
    photo = open_photo(tmp_path / "in.jpg")
    out = tmp_path / f"out{suffix}"
    assert write_like(out, photo.rgb, photo) == []
    assert is_photo(out)
    tags = kept_exif(out)
    assert (tags[0x010F], tags[0x0132], tags.get(0x0112, 1)) == ("Maker", "2024:05:06 07:08:09", 1)
    assert (tags[0x9003], tags[1]) == ("2024:05:06 07:08:08", "N")
    with Image.open(out) as image:
        profile = ImageCms.ImageCmsProfile(io.BytesIO(image.info["icc_profile"]))
        assert "sRGB" in ImageCms.getProfileName(profile)
        shown = np.asarray(image.convert("RGB"), int)
    assert np.abs(shown - photo.rgb).mean() < 4
    assert np.abs(read_photo(out).astype(int) - photo.rgb).mean() < 4


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_colors_are_converted_by_their_profile(tmp_path: Path, suffix: str) -> None:
    Image.fromarray(PICTURE).save(tmp_path / f"in{suffix}", icc_profile=p3_profile())
    expected = in_srgb(p3_profile(), PICTURE.astype(float))
    assert np.abs(expected - PICTURE).mean() > 2, "the profile matters"
    found = read_photo(tmp_path / f"in{suffix}").astype(float)
    assert np.abs(found - expected).max() < 3


def test_gray_and_cmyk_photos_are_converted(tmp_path: Path) -> None:
    Image.fromarray(PICTURE[..., 0]).save(tmp_path / "gray.jpg", quality=98)
    assert np.abs(read_photo(tmp_path / "gray.jpg").astype(int) - PICTURE[..., :1]).mean() < 2
    Image.fromarray(PICTURE).convert("CMYK").save(tmp_path / "ink.jpg", quality=98)
    assert np.abs(read_photo(tmp_path / "ink.jpg").astype(int) - PICTURE).mean() < 4
    Image.fromarray(PICTURE).quantize(16).save(tmp_path / "palette.png")
    with Image.open(tmp_path / "palette.png") as image:
        np.testing.assert_array_equal(read_photo(tmp_path / "palette.png"), np.asarray(image.convert("RGB")))


def test_a_damaged_profile_is_named(tmp_path: Path) -> None:
    Image.fromarray(PICTURE).save(tmp_path / "in.png", icc_profile=p3_profile()[:140])
    photo = open_photo(tmp_path / "in.png")
    np.testing.assert_array_equal(photo.rgb, PICTURE)
    assert ["profile cannot be used" in line for line in photo.warnings] == [True]
    assert photo.profile is None


@pytest.mark.parametrize("suffix", [".jpg", ".webp", ".png", ".tif"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_photos_of_every_orientation_become_upright(tmp_path: Path, suffix: str, orientation: int) -> None:
    from PIL import ImageOps

    Image.fromarray(PICTURE).save(tmp_path / f"in{suffix}", exif=exif(orientation))
    with Image.open(tmp_path / f"in{suffix}") as image:
        expected = np.asarray(ImageOps.exif_transpose(image).convert("RGB"))
    photo = open_photo(tmp_path / f"in{suffix}")
    np.testing.assert_array_equal(photo.rgb, expected)
    write_like(tmp_path / "out.jpg", photo.rgb, photo)
    tags = kept_exif(tmp_path / "out.jpg")
    assert (tags[0x010F], tags.get(0x0112, 1)) == ("Maker", 1)


@pytest.mark.parametrize("suffix", [".png", ".webp", ".tif", ".avif", ".heic"])
def test_transparency_stays_where_the_format_has_it(tmp_path: Path, suffix: str) -> None:
    alpha = np.zeros((48, 64), np.uint8)
    alpha[:, 30:] = np.linspace(0, 255, 34).astype(np.uint8)
    Image.fromarray(np.dstack([PICTURE, alpha])).save(tmp_path / "in.png")
    photo = open_photo(tmp_path / "in.png")
    assert photo.alpha is not None
    np.testing.assert_array_equal(photo.alpha, alpha)
    assert write_like(tmp_path / f"out{suffix}", photo.rgb, photo) == []
    with Image.open(tmp_path / f"out{suffix}") as image:
        found = np.asarray(image.convert("RGBA"), int)
    assert np.abs(found[..., 3] - alpha).mean() < 2
    assert np.abs(found[:, 45:, :3] - PICTURE[:, 45:]).mean() < 6


def test_transparent_parts_are_white_without_transparency(tmp_path: Path) -> None:
    rgba = np.dstack([np.full((48, 64, 3), 60, np.uint8), np.zeros((48, 64), np.uint8)])
    rgba[:, 32:, 3] = 255
    Image.fromarray(rgba).save(tmp_path / "in.png")
    photo = open_photo(tmp_path / "in.png")
    warnings = write_like(tmp_path / "out.jpg", photo.rgb, photo)
    assert warnings == ["out.jpg: its format has no transparency, transparent parts are white"]
    with Image.open(tmp_path / "out.jpg") as image:
        shown = np.asarray(image)
    assert shown[:, :24].min() > 250
    np.testing.assert_allclose(shown[:, 40:], 60, atol=3)
    assert read_photo(tmp_path / "in.png")[:, :32].min() == 255, "as a style, too"


DEEP = (np.linspace(0, 1, 64 * 48 * 3).reshape(48, 64, 3) * 65535).astype(np.uint16)


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_sixteen_bits_stay_sixteen_bits(tmp_path: Path, suffix: str) -> None:
    cv2.imwrite(str(tmp_path / f"in{suffix}"), DEEP[..., ::-1])
    photo = open_photo(tmp_path / f"in{suffix}")
    assert photo.deep is not None
    np.testing.assert_array_equal(photo.deep, DEEP)
    np.testing.assert_allclose(photo.rgb, DEEP / 257, atol=0.51)
    assert write_like(tmp_path / "out.png", photo.deep, photo) == []
    found = cv2.imread(str(tmp_path / "out.png"), cv2.IMREAD_UNCHANGED)[..., ::-1]
    np.testing.assert_array_equal(found, DEEP)
    assert write_like(tmp_path / "out.jpg", photo.rgb, photo) == [
        "out.jpg has 8 bits per channel, its source more"
    ]


def test_a_deep_png_keeps_exif_profile_and_transparency(tmp_path: Path) -> None:
    alpha = np.linspace(0, 65535, 64 * 48).reshape(48, 64).astype(np.uint16)
    content = cv2.imencode(".png", np.dstack([DEEP[..., ::-1], alpha]))[1].tobytes()
    (tmp_path / "in.png").write_bytes(content)
    plain = open_photo(tmp_path / "in.png")
    Image.fromarray(PICTURE).save(tmp_path / "tags.png", exif=exif(6), icc_profile=p3_profile())
    tagged = open_photo(tmp_path / "tags.png")
    like = Photo(plain.rgb, plain.alpha, plain.deep, tagged.exif, tagged.profile)
    assert write_like(tmp_path / "out.png", DEEP, like) == []
    assert kept_exif(tmp_path / "out.png")[0x010F] == "Maker"
    with Image.open(tmp_path / "out.png") as image:
        assert image.info["icc_profile"] == tagged.profile
    found = cv2.imread(str(tmp_path / "out.png"), cv2.IMREAD_UNCHANGED)
    assert (found.dtype, found.shape) == (np.uint16, (48, 64, 4))
    np.testing.assert_allclose(found[..., 3], alpha, atol=130)


def test_deep_colors_are_converted_by_their_profile_without_banding(tmp_path: Path) -> None:
    ramp = np.repeat(np.linspace(9000, 12000, 64).astype(np.uint16)[None, :, None], 48, 0).repeat(3, 2)
    write_like(tmp_path / "plain.png", ramp, Photo(PICTURE))
    content = (tmp_path / "plain.png").read_bytes()
    Image.fromarray(PICTURE).save(tmp_path / "tags.png", icc_profile=p3_profile())
    tagged = (tmp_path / "tags.png").read_bytes()
    at = tagged.index(b"iCCP") - 4
    chunk = tagged[at : at + 12 + struct.unpack(">I", tagged[at : at + 4])[0]]
    (tmp_path / "deep.png").write_bytes(content[:33] + chunk + content[33:])
    deep = open_photo(tmp_path / "deep.png").deep
    assert deep is not None
    expected = in_srgb(b"", ramp / 257) * 257
    assert np.abs(deep.astype(float) - expected).max() < 400, "of 65535: a level and a half of eight bits"
    assert len(np.unique(deep[0, :, 1])) > 60


def test_the_deep_map_equals_the_formula() -> None:
    grid = np.broadcast_to(np.eye(3, 4, dtype=np.float32) * 0.5, (4, 5, 2, 3, 4)).copy()
    grid[..., 3] = 0.25
    np.testing.assert_allclose(transferred_deep(DEEP, grid), DEEP * 0.5 + 0.25 * 65535, atol=1.5)


def test_a_photo_that_is_too_large_is_refused_before_it_is_decoded(tmp_path: Path) -> None:
    huge = bytearray(cv2.imencode(".png", PICTURE)[1].tobytes())
    huge[16:24] = struct.pack(">II", 60_000, 60_000)
    huge[29:33] = struct.pack(">I", zlib.crc32(huge[12:29]))
    (tmp_path / "huge.png").write_bytes(huge)
    with pytest.raises(PhotoError, match=r"60000×60000 pixels, more than 210 megapixels.*--max-pixels"):
        read_photo(tmp_path / "huge.png")
    Image.fromarray(PICTURE).save(tmp_path / "small.png")
    with pytest.raises(PhotoError, match="--max-pixels"):
        open_photo(tmp_path / "small.png", max_pixels=100)


@pytest.mark.parametrize("suffix", [".png", ".webp", ".gif"])
def test_a_moving_picture_is_a_photo_only_where_a_photo_is_made_of_it(tmp_path: Path, suffix: str) -> None:
    frames = [Image.fromarray(moving_square(index, 64, 48)) for index in range(3)]
    path = tmp_path / f"moving{suffix}"
    frames[0].save(path, save_all=True, append_images=frames[1:], duration=40)
    assert not is_photo(path)
    assert not is_photo(path, tmp_path / "out.mp4")
    assert is_photo(path, tmp_path / "out.png")
    assert open_photo(path).warnings == [
        f"moving{suffix} is a moving picture: only its first picture is used"
    ]
    frames[0].save(path)
    assert is_photo(path)


@pytest.mark.parametrize("name", ["concat:x.jpg", "12:30.png", "größe.webp", os.fsdecode(b"latin1_\xe4.jpg")])
def test_any_name_is_a_name(tmp_path: Path, name: str) -> None:
    write_photo(tmp_path / name, PICTURE)
    assert is_photo(tmp_path / name)
    assert read_photo(tmp_path / name).shape == PICTURE.shape


@pytest.mark.parametrize("mode", ["CMYK", "RGBA", "LAB", "L"])
def test_how_a_tiff_is_stored_is_not_copied(tmp_path: Path, mode: str) -> None:
    Image.fromarray(PICTURE).convert(mode).save(tmp_path / "in.tif", exif=exif(8), compression="raw")
    photo = open_photo(tmp_path / "in.tif")
    for suffix in (".tif", ".jpg"):
        write_like(tmp_path / f"out{suffix}", photo.rgb, photo)
        with Image.open(tmp_path / f"out{suffix}") as image:
            assert image.size == (48, 64)
            assert np.abs(np.asarray(image.convert("RGB"), int) - photo.rgb).mean() < 5
        tags = kept_exif(tmp_path / f"out{suffix}")
        assert (tags[0x010F], tags.get(0x0112, 1)) == ("Maker", 1)


def test_the_first_page_of_several_is_named(tmp_path: Path) -> None:
    pages = [Image.fromarray(PICTURE), Image.fromarray(PICTURE)]
    pages[0].save(tmp_path / "in.tif", save_all=True, append_images=pages[1:])
    assert open_photo(tmp_path / "in.tif").warnings == [
        "in.tif has several pages: only the first one is used"
    ]


@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_a_deep_tiff_becomes_upright(tmp_path: Path, orientation: int) -> None:
    content = cv2.imencode(".tif", DEEP[..., ::-1], [cv2.IMWRITE_TIFF_COMPRESSION, 1])[1].tobytes()
    offset = struct.unpack("<I", content[4:8])[0]
    count = struct.unpack("<H", content[offset : offset + 2])[0]
    entries = [content[at : at + 12] for at in range(offset + 2, offset + 2 + 12 * count, 12)]
    entries = [each for each in entries if each[:2] != struct.pack("<H", 274)]
    entries.append(struct.pack("<HHIHH", 274, 3, 1, orientation, 0))
    directory = struct.pack("<H", len(entries)) + b"".join(sorted(entries, key=lambda each: each[1::-1]))
    turned = content[:4] + struct.pack("<I", len(content)) + content[8:] + directory + bytes(4)
    (tmp_path / "in.tif").write_bytes(turned)
    photo = open_photo(tmp_path / "in.tif")
    assert photo.deep is not None
    turns = {1: 0, 3: 2, 6: -1, 8: 1}[orientation]
    np.testing.assert_array_equal(photo.deep, np.rot90(DEEP, turns))


@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_a_deep_png_becomes_upright(tmp_path: Path, orientation: int) -> None:
    content = cv2.imencode(".png", DEEP[..., ::-1])[1].tobytes()
    tagged = io.BytesIO()
    Image.fromarray(PICTURE).save(tagged, "PNG", exif=exif(orientation))
    at = tagged.getvalue().index(b"eXIf") - 4
    size = struct.unpack(">I", tagged.getvalue()[at : at + 4])[0]
    (tmp_path / "in.png").write_bytes(content[:33] + tagged.getvalue()[at : at + 12 + size] + content[33:])
    deep = open_photo(tmp_path / "in.png").deep
    assert deep is not None
    np.testing.assert_array_equal(deep, np.rot90(DEEP, {1: 0, 3: 2, 6: -1, 8: 1}[orientation]))
