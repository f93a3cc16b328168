"""What a stylized photo keeps of its source."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from device_runtime.media.photo import PhotoError
from device_runtime.options import StylizeOptions
from device_runtime.pipeline import stylize_photo
from device_runtime.request_check import check_request
from mvstylizer.bundle import default_bundle, load_bundle
from tests.device_runtime.clips import moving_square
from tests.device_runtime.test_pipeline import WARM, ColorStylizer

DEEP = (np.linspace(0, 1, 96 * 64 * 3).reshape(64, 96, 3) * 65535).astype(np.uint16)


@pytest.fixture
def style(tmp_path: Path) -> Path:
    Image.fromarray(moving_square(1, 64, 48)).save(tmp_path / "style.png")
    return tmp_path / "style.png"


@pytest.mark.parametrize("suffix", [".png", ".tif"])
@pytest.mark.parametrize("strength", [1.0, 0.3])
def test_sixteen_bits_are_stylized_in_sixteen_bits(style: Path, suffix: str, strength: float) -> None:
    source, out = style.with_name(f"in{suffix}"), style.with_name(f"out{suffix}")
    cv2.imwrite(str(source), DEEP[..., ::-1])
    options = StylizeOptions(strength=strength)
    report = stylize_photo(source, style, out, options=options, stylizer=ColorStylizer(WARM))
    assert (report.edge_output, report.warnings) == ("map", [])
    unit = np.concatenate([DEEP / 65535, np.ones((64, 96, 1))], -1)
    styled = np.clip((1 - strength) * unit[..., :3] + strength * unit @ WARM.T, 0, 1)
    found = cv2.imread(str(out), cv2.IMREAD_UNCHANGED)[..., ::-1]
    np.testing.assert_allclose(found, styled * 65535, atol=2)


def test_transparency_and_exif_survive_a_run(style: Path) -> None:
    source, out = style.with_name("in.png"), style.with_name("out.webp")
    exif = Image.Exif()
    exif[0x010F], exif[0x0112] = "Maker", 6
    alpha = np.full((48, 64), 255, np.uint8)
    alpha[:, :20] = 0
    Image.fromarray(np.dstack([moving_square(2, 64, 48), alpha])).save(source, exif=exif)
    stylize_photo(source, style, out, stylizer=ColorStylizer(WARM))
    with Image.open(out) as image:
        assert image.getexif()[0x010F] == "Maker"
        assert image.getexif().get(0x0112, 1) == 1
        found = np.asarray(image.getchannel("A"))
    np.testing.assert_array_equal(found, np.rot90(alpha, -1))


def test_max_pixels_holds_before_a_server_is_started(style: Path) -> None:
    with pytest.raises(PhotoError, match="--max-pixels"):
        check_request(
            style,
            style,
            style.with_name("out.png"),
            options=StylizeOptions(max_pixels=1000),
            bundle=load_bundle(default_bundle()),
        )
