"""Styles carried from label to label: the sky takes on the style's sky, the ground its ground.

A *label image* gives each pixel of a photo a label: its value. Labels of content and style that have the same
value belong together, and each pair is stylized by itself: both photos are filled from the label's pixels
(`label_fill`), so that the stylizer sees the statistics of that label alone, and is asked for an affine map.
The maps are applied to the photo and blended at the borders (`label_blend`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from device_runtime.interpolation.affine_map import AffineMap
from device_runtime.labels.blend import blended_maps
from device_runtime.labels.fill import filled
from device_runtime.media.photo import read_pixels
from device_runtime.report import LabelUse, Stopwatch
from device_runtime.stylizers.request_queue import KeyRequests
from device_runtime.stylizers.style_mix import StyleMix
from mvstylizer.errors import MVStylizerError
from mvstylizer.stylizer import Stylizer

MAX_LABELS: Final = 16
MIN_SHARE: Final = 0.005  # of a photo: less is too little to call it a style
MIN_PIXELS: Final = 64

Labels = NDArray[np.int32]
"""(H, W), one value a pixel: 0xRRGGBB of the label image."""


class LabelImageError(MVStylizerError):
    """A file that is no label image, or not that of its photo."""


class MaskFiles(NamedTuple):
    """The label images of a content photo and of a style photo."""

    content: Path
    style: Path


class LabelledPicture(NamedTuple):
    """A stylized photo.

    Attributes:
        picture: uint8 RGB (H, W, 3).
        uses: What became of each label, by value; empty without masks.
        sent: Bytes sent for it, without gRPC's framing.
        received: Bytes that came back.
    """

    picture: NDArray[np.uint8]
    uses: list[LabelUse]
    sent: int
    received: int


def read_labels(path: Path, photo: NDArray[np.uint8]) -> Labels:
    """Read the label image of a photo.

    Args:
        path: A PNG: eight-bit grey, palette or RGB, upright like the photo (EXIF orientation is applied).
            Each grey level or colour is a label; a grey level and the same grey as RGB are the same.
        photo: uint8 RGB (H, W, 3). A label image of the same aspect and another size is resized to its size
            (nearest neighbour).

    Returns:
        int32 (H, W).

    Raises:
        PhotoError: The file is missing, unreadable or no picture.
        LabelImageError: It has another aspect than the photo, more than eight bits, or more than 16 labels.
    """
    colours = read_pixels(path, cv2.IMREAD_ANYDEPTH)
    if colours.dtype != np.uint8:
        raise LabelImageError(f"{path} has more than eight bits a value", "Save it as an eight-bit PNG")
    height, width = photo.shape[:2]
    rows, columns = colours.shape[:2]
    if min(abs(columns - width * rows / height), abs(rows - height * columns / width)) > 1:
        raise LabelImageError(
            f"{path} has {columns}×{rows} pixels, another aspect than its photo's {width}×{height}",
            "Draw the label image on that photo, upright",
        )
    labels = colours.astype(np.int32) @ np.array([1 << 16, 1 << 8, 1], np.int32)
    found = len(np.unique(labels))
    if found > MAX_LABELS:
        raise LabelImageError(
            f"{path} has {found} values, but a label image has few: {MAX_LABELS} at most",
            "Save it as PNG without smoothing (JPEG adds values of its own)",
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
    progress: Callable[[int, int | None], None] | None = None,
) -> LabelledPicture:
    """Stylize a photo label by label, with one request for each and one for all that take the whole style.

    A label takes on the same label of the style where each of the two has 64 pixels and half a per cent of
    its photo, and the whole style where not.

    Args:
        photo: uint8 RGB (H, W, 3).
        style: uint8 RGB (H', W', 3).
        labels: int32 (H, W), the photo's; see `read_labels`.
        style_labels: int32 (H', W'), the style's.
        stylizer: An edge, or this machine.
        map_pixels: Pixels at which its network works; photos are sent at that size.
        watch: Takes the time of the requests as ``edge``, of the rest as ``interpolate``.
        progress: Called after each request with the number of those done and of all.

    Returns:
        The picture, of the photo's size, and what became of each label.

    Raises:
        MVStylizerError: The stylizer cannot be reached, or refuses a photo.
    """
    uses, regions, values = _paired(labels, style_labels)
    maps: list[AffineMap] = []
    sent = received = 0
    for value in values:
        with watch.measure("interpolate"):
            content = photo if value is None else filled(photo, labels == value)
            mix = StyleMix.of(style if value is None else filled(style, style_labels == value))
        with KeyRequests(stylizer, mix, reply="map", map_pixels=map_pixels, watch=watch) as requests:
            _, affine_map, *traffic = requests.submit(content).result()
        assert affine_map is not None, "KeyRequests has looked"
        maps.append(affine_map)
        sent, received = sent + traffic[0], received + traffic[1]
        if progress is not None:
            progress(len(maps), len(values))
    with watch.measure("interpolate"):
        picture = blended_maps(photo, regions, maps)
    return LabelledPicture(picture, uses, sent, received)


def _paired(
    labels: Labels, style_labels: Labels
) -> tuple[list[LabelUse], NDArray[np.uint8], Sequence[int | None]]:
    """Return what becomes of each label, regions (H, W), and each region's label; None = the whole style."""
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
