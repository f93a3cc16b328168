"""Stylize a photo label by label: the sky after the style's sky, the ground after its ground.

A *label image* assigns each pixel of a photo a label: the pixel's value. Content and style labels of the same
value form a pair, and each pair is stylized separately: both photos are filled with the label's pixels (see
`labels.fill`), so that the stylizer sees the statistics of that label alone and returns a map for it.
The maps are applied to the photo and blended at the borders (see `labels.blend`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from device_runtime.labels.blend import blended_maps
from device_runtime.labels.fill import filled
from device_runtime.media.photo import read_photo, read_pixels
from device_runtime.report import LabelUse, Stopwatch
from device_runtime.stylizers.request_queue import KeyRequests
from device_runtime.stylizers.style_mix import StyleMix, StylePhotos, normalized
from mvstylizer.errors import MVStylizerError
from mvstylizer.stylizer import PALETTE, BilateralGrid, Match, Stylizer

MAX_LABELS: Final = 16
MIN_SHARE: Final = 0.005  # of a photo: a smaller area does not define a style
MIN_PIXELS: Final = 64

Labels = NDArray[np.int32]
"""(H, W), one value per pixel: 0xRRGGBB of the label image."""


class LabelImageError(MVStylizerError):
    """Error raised for a file that is not a label image or does not fit its photo."""


class MaskFiles(NamedTuple):
    """The label images of a content photo and of a style photo."""

    content: Path
    style: Path


class LabeledPicture(NamedTuple):
    """A stylized photo.

    Attributes:
        picture: uint8 RGB (H, W, 3).
        uses: How each label was stylized, sorted by value; empty without label images.
        sent: Tensor bytes sent for it, without gRPC's framing.
        received: Tensor bytes received.
    """

    picture: NDArray[np.uint8]
    uses: list[LabelUse]
    sent: int
    received: int


def read_mask_files(
    photo: NDArray[np.uint8], style_photo: StylePhotos, masks: MaskFiles
) -> tuple[NDArray[np.uint8], Labels, Labels]:
    """Read the style photo at full size and both label images.

    Args:
        photo: uint8 RGB (H, W, 3), the content photo.
        style_photo: A single style photo.
        masks: The label images.

    Returns:
        The style, uint8 RGB (H', W', 3), the labels of the content and those of the style.

    Raises:
        ValueError: There are several style photos.
        PhotoError: A file cannot be read.
        LabelImageError: As raised by `read_labels`.
    """
    paths = list(normalized(style_photo))
    if len(paths) > 1:
        raise ValueError("label images need a single style photo")
    style = read_photo(paths[0])
    return style, read_labels(masks.content, photo), read_labels(masks.style, style)


def read_labels(path: Path, photo: NDArray[np.uint8]) -> Labels:
    """Read the label image of a photo.

    Args:
        path: A PNG: eight-bit gray, palette or RGB, upright like the photo (EXIF orientation is applied).
            Each gray level or color is a label; a gray level and the same gray in RGB are one label.
        photo: uint8 RGB (H, W, 3). A label image of the same aspect ratio is resized to its size (nearest
            neighbor).

    Returns:
        int32 (H, W).

    Raises:
        PhotoError: The file is missing or cannot be read as a picture.
        LabelImageError: Its aspect ratio differs from the photo's, or it has more than eight bits or 16
            labels.
    """
    colors = read_pixels(path)
    if colors.dtype != np.uint8:
        raise LabelImageError(f"{path} has more than eight bits per channel", "Save it as an eight-bit PNG")
    height, width = photo.shape[:2]
    rows, columns = colors.shape[:2]
    if min(abs(columns - width * rows / height), abs(rows - height * columns / width)) > 1:
        raise LabelImageError(
            f"{path} is {columns}×{rows}, which is not the aspect ratio of its photo ({width}×{height})",
            "Draw the label image on the upright photo",
        )
    labels = colors.astype(np.int32) @ np.array([1 << 16, 1 << 8, 1], np.int32)
    found = len(np.unique(labels))
    if found > MAX_LABELS:
        raise LabelImageError(
            f"{path} has {found} values, but a label image may have at most {MAX_LABELS}",
            "Save it as PNG without anti-aliasing (JPEG adds values)",
        )
    return np.asarray(cv2.resize(labels, (width, height), interpolation=cv2.INTER_NEAREST_EXACT), np.int32)


def stylize_labels(
    photo: NDArray[np.uint8],
    style: NDArray[np.uint8],
    labels: Labels,
    style_labels: Labels,
    *,
    stylizer: Stylizer,
    map_pixels: int,
    watch: Stopwatch,
    match: Match = "auto",
    protect_skin: bool = False,
    progress: Callable[[int, int | None], None] | None = None,
) -> LabeledPicture:
    """Stylize a photo label by label: one request per label, and one for all labels that use the whole style.

    A label is stylized after the same label of the style if each of the two has at least 64 pixels and covers
    half a percent of its photo; otherwise after the whole style.

    Args:
        photo: uint8 RGB (H, W, 3).
        style: uint8 RGB (H', W', 3).
        labels: int32 (H, W), the photo's; see `read_labels`.
        style_labels: int32 (H', W'), the style's.
        stylizer: Stylizes the filled photos.
        map_pixels: Pixel budget of its network; photos are sent at that size.
        match: How each label's style is followed. ``auto`` means the palette: anyone who pairs labels has
            decided that they correspond.
        protect_skin: Hold the maps back on skin; see `device_runtime.stylizers.skin`.
        watch: Records the time of the requests as ``edge``, of the rest as ``interpolate``.
        progress: Called after each request with the number of requests done and the total.

    Returns:
        The picture, of the photo's size, and how each label was stylized.

    Raises:
        MVStylizerError: The stylizer cannot be reached, or rejects a photo.
    """
    match = PALETTE if match == "auto" else match
    uses, regions, values = _paired(labels, style_labels)
    maps: list[BilateralGrid] = []
    sent = received = 0
    for value in values:
        with watch.measure("interpolate"):
            content = photo if value is None else filled(photo, labels == value)
            mix = StyleMix.of(style if value is None else filled(style, style_labels == value), match)
        with KeyRequests(
            stylizer, mix, reply="map", map_pixels=map_pixels, watch=watch, protect_skin=protect_skin
        ) as requests:
            _, grid, *traffic = requests.submit(content).result()
        assert grid is not None, "checked by KeyRequests"
        maps.append(grid)
        sent, received = sent + traffic[0], received + traffic[1]
        if progress is not None:
            progress(len(maps), len(values))
    with watch.measure("interpolate"):
        picture = blended_maps(photo, regions, maps)
    return LabeledPicture(picture, uses, sent, received)


def paired_regions(
    labels: Labels, style_labels: Labels
) -> tuple[list[LabelUse], NDArray[np.uint8], list[int]]:
    """Return how each label is used, the regions (H, W), and the label of each region but the last one.

    The last region is the rest, which takes the whole style; it may be empty.
    """
    uses, regions, values = _paired(labels, style_labels)
    return uses, regions, [value for value in values if value is not None]


def _paired(
    labels: Labels, style_labels: Labels
) -> tuple[list[LabelUse], NDArray[np.uint8], Sequence[int | None]]:
    """Return how each label is used, regions (H, W), and each region's label; None = the whole style."""
    own: list[int] = []
    uses = []
    style_sizes = _sizes(style_labels)
    for value, size in _sizes(labels).items():
        style_size = style_sizes.get(value, 0)
        large = _is_large(size, labels.size) and _is_large(style_size, style_labels.size)
        if large:
            own.append(value)
        share, style_share = round(size / labels.size, 4), round(style_size / style_labels.size, 4)
        uses.append(LabelUse(_name(value), share, style_share, large))
    regions = np.full(labels.shape, len(own), np.uint8)
    for number, value in enumerate(own):
        regions[labels == value] = number
    return uses, regions, own if len(own) == len(uses) else [*own, None]


def _sizes(labels: Labels) -> dict[int, int]:
    values, counts = np.unique(labels, return_counts=True)
    return dict(zip(values.tolist(), counts.tolist(), strict=True))


def _is_large(size: int, of_all: int) -> bool:
    return size >= max(MIN_PIXELS, MIN_SHARE * of_all)


def _name(value: int) -> str:
    red, green, blue = value >> 16, value >> 8 & 255, value & 255
    return str(red) if red == green == blue else f"#{value:06x}"
