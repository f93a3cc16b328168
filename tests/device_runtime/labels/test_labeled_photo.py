"""Stylize a photo with label images, file to file, also with the real model."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from device_runtime.labels.masks import LabelImageError, MaskFiles
from device_runtime.media.atomic_file import OutputError
from device_runtime.media.photo import PhotoError, read_photo, write_photo
from device_runtime.options import StylizeOptions
from device_runtime.pipeline import stylize_photo
from device_runtime.request_check import check_request
from device_runtime.stylizers.onnx_stylizer import OnnxStylizer
from mvstylizer.bundle import default_bundle, load_bundle
from tests.device_runtime.labels.test_masks import HEIGHT, PHOTO, WIDTH, MeanStylizer, halves, two_colors


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path, MaskFiles]:
    """A photo, a style and their label images; the style's labels are upside down."""
    photo, style = tmp_path / "photo.png", tmp_path / "style.png"
    write_photo(photo, PHOTO)
    write_photo(style, two_colors(180, 240))
    masks = MaskFiles(tmp_path / "labels.png", tmp_path / "style-labels.png")
    cv2.imwrite(str(masks.content), halves())
    cv2.imwrite(str(masks.style), 255 - halves(180, 240))
    return photo, style, masks


def test_the_real_model_carries_colors_from_label_to_label(
    files: tuple[Path, Path, MaskFiles], tmp_path: Path
) -> None:
    photo, style, masks = files
    out = tmp_path / "out.png"
    warmth = {}
    with OnnxStylizer(load_bundle(default_bundle("lite")), threads=1) as stylizer:
        for name, given in (("plain", None), ("masks", masks)):
            report = stylize_photo(photo, style, out, stylizer=stylizer, masks=given)
            red, _, blue = np.moveaxis(read_photo(out).astype(float), -1, 0)
            warmth[name] = [(red - blue)[rows].mean() for rows in (np.s_[:50], np.s_[70:])]
    above, below = warmth["masks"]
    # The style's label of the upper half is the reddish one (R - B = 140), of the lower the bluish (-140).
    assert above > 60
    assert below < -60
    assert above - below > 100 + abs(np.subtract(*warmth["plain"]))
    assert (report.edge_output, report.warnings, report.bytes_sent) == ("map", [], 0)
    assert report.as_dict()["labels"] == [
        {"label": "0", "share": 0.5, "style_share": 0.5, "own_style": True},
        {"label": "255", "share": 0.5, "style_share": 0.5, "own_style": True},
    ]


def test_the_report_counts_bytes_and_warns_where_no_label_matches(
    files: tuple[Path, Path, MaskFiles], tmp_path: Path
) -> None:
    photo, style, masks = files
    out = tmp_path / "out.png"
    report = stylize_photo(photo, style, out, stylizer=MeanStylizer(), masks=masks)
    assert (report.bytes_sent, report.bytes_received) == (2000, 20)
    cv2.imwrite(str(masks.style), np.full((180, 240), 3, np.uint8))
    report = stylize_photo(photo, style, out, stylizer=MeanStylizer(), masks=masks)
    assert report.warnings == [
        "The label images share no label that is large enough: the whole style was used"
    ]


def test_strength_zero_gives_the_photo_back(files: tuple[Path, Path, MaskFiles], tmp_path: Path) -> None:
    photo, style, masks = files
    out = tmp_path / "out.png"
    stylize_photo(
        photo, style, out, options=StylizeOptions(strength=0.0), stylizer=MeanStylizer(), masks=masks
    )
    np.testing.assert_array_equal(read_photo(out), PHOTO)


def test_bad_requests_are_refused_before_the_edge_is_asked(
    files: tuple[Path, Path, MaskFiles], tmp_path: Path
) -> None:
    photo, style, masks = files
    bundle, stylizer = load_bundle(default_bundle("lite")), MeanStylizer()
    write_photo(tmp_path / "other.png", PHOTO)
    cv2.imwrite(str(tmp_path / "upright.png"), halves(WIDTH, HEIGHT))
    missing, upright = tmp_path / "missing.png", tmp_path / "upright.png"
    for styles, given, target, error in (
        (style, masks._replace(content=missing), "out.png", PhotoError),
        (style, masks._replace(style=missing), "out.png", PhotoError),
        (style, masks._replace(content=upright), "out.png", LabelImageError),
        (style, masks._replace(style=upright), "out.png", LabelImageError),
        (style, masks, masks.content.name, OutputError),
        (style, masks, masks.style.name, OutputError),
        ({style: 1.0, tmp_path / "other.png": 1.0}, masks, "out.png", ValueError),
    ):
        out = tmp_path / target
        with pytest.raises(error):
            stylize_photo(photo, styles, out, stylizer=stylizer, masks=given)
        with pytest.raises(error):
            check_request(photo, styles, out, bundle=bundle, masks=given)
    assert stylizer.styles == []
    assert not (tmp_path / "out.png").exists()
