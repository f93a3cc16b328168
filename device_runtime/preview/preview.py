"""Write a contact sheet before a run (``mvstylizer stylize --preview``)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np

from device_runtime.media.photo import check_photo_output, is_photo
from device_runtime.options import DEFAULT_OPTIONS, StylizeOptions
from device_runtime.preview.contact_sheet import Picture, write_sheet
from device_runtime.preview.stills import Still, one_still, scene_stills
from device_runtime.preview.variants import MATCHES, Variants, match_name, preview_pixels
from device_runtime.report import versioned
from device_runtime.stylizers.style_mix import StyleMix, StylePhotos, normalized
from mvstylizer.bundle import Bundle
from mvstylizer.stylizer import Match, Stylizer

STRENGTHS: Final = (0.5, 0.75, 1.0)
MAX_SCENES: Final = 8
LARGE_TILE: Final = 480  # pixels, of a sheet with one frame
SMALL_TILE: Final = 320


@dataclass(frozen=True)
class PreviewReport:
    """What a preview shows.

    Attributes:
        out: The file written.
        frames: Number in the part that was previewed (from 0), time in the video in seconds, and scene of
            each frame.
        matches: The columns after the original.
        strengths: The rows of each frame.
        warnings: One line for each thing the user should know.
    """

    out: str
    frames: list[dict[str, float]]
    matches: list[str]
    strengths: list[float]
    warnings: list[str] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        """Return the fields and ``schema_version`` as JSON-serializable values."""
        return versioned(asdict(self))


def write_preview(
    source: Path,
    style_photo: StylePhotos,
    out: Path,
    *,
    options: StylizeOptions = DEFAULT_OPTIONS,
    stylizer: Stylizer,
    bundle: Bundle,
    scenes: bool = False,
    progress: Callable[[int, int | None], None] | None = None,
) -> PreviewReport:
    """Write a contact sheet: a row per frame and strength, a column per match.

    Args:
        source: A video or a photo.
        style_photo: The style photo, or several with weights.
        out: The result, a picture.
        options: `start` and `end` select the part of a video. `match` and `strength` are added to the three
            named matches and to 50, 75 and 100 %.
        stylizer: Stylizes the frames, as thumbnails.
        bundle: Provides the kernel, and declares the network's input size.
        scenes: Three frames of each scene, of up to eight scenes, instead of one frame: the first of the
            part, or the one in the middle if there is no start.
        progress: Called after each request with the number of requests done and the total.

    Raises:
        ValueError: A StyleWeightError.
        VideoError: The video cannot be read, or ends before the part begins.
        PhotoError: A photo cannot be read, or the result cannot be written.
        OutputError: The output's folder is missing or read-only, or the output is one of the inputs.
        MVStylizerError: The stylizer fails.
    """
    check_photo_output(out, source, *normalized(style_photo))
    style = StyleMix.read(style_photo)
    matches = list(dict.fromkeys([*MATCHES.values(), options.match]))
    strengths = sorted({*STRENGTHS, options.strength})
    stills, warnings = _stills(source, options, preview_pixels(bundle), scenes)
    rows: list[list[Picture | None]] = []
    with Variants(style, stylizer, bundle) as variants:
        for number, still in enumerate(stills):
            grids = []
            for match in matches:
                grids.append(variants.grid(still.picture, match))
                if progress is not None:
                    progress(number * len(matches) + len(grids), len(stills) * len(matches))
            style_tile = None if number else _within(style.photos[0], still.picture.shape)
            first_column = [still.picture, style_tile, *[None] * len(strengths)]
            for strength, first in zip(strengths, first_column, strict=False):
                rows.append([first, *(variants.picture(still.picture, grid, strength) for grid in grids)])
    captions = [_caption(still, strength, source) for still in stills for strength in strengths]
    titles = ["original, style", *map(match_name, matches)]
    write_sheet(out, titles, rows, captions, tile=SMALL_TILE if scenes else LARGE_TILE)
    return _report(out, stills, matches, strengths, warnings)


def _stills(
    source: Path, options: StylizeOptions, pixels: int, scenes: bool
) -> tuple[list[Still], list[str]]:
    if not scenes or is_photo(source):
        return [one_still(source, pixels, options.span, options.input_lut)], []
    stills, is_cut = scene_stills(source, pixels, options.span, MAX_SCENES, options.input_lut)
    rest = (
        f"{source.name} has more scenes: the preview shows the first {MAX_SCENES}; choose others with --from"
    )
    return stills, [rest] if is_cut else []


def _within(picture: Picture, shape: tuple[int, ...]) -> Picture:
    """Return a picture on white, of the shape of another one, so that it makes no row higher."""
    height, width = shape[:2]
    scale = min(height / picture.shape[0], width / picture.shape[1])
    tall, wide = (max(1, round(side * scale)) for side in picture.shape[:2])
    tile = np.full((height, width, 3), 255, np.uint8)
    top, left = (height - tall) // 2, (width - wide) // 2
    tile[top : top + tall, left : left + wide] = cv2.resize(
        picture, (wide, tall), interpolation=cv2.INTER_AREA
    )
    return tile


def _caption(still: Still, strength: float, source: Path) -> str:
    strength_text = f"strength {100 * strength:.0f} %"
    return strength_text if is_photo(source) else f"{still.seconds:.2f} s, {strength_text}"


def _report(
    out: Path, stills: list[Still], matches: list[Match], strengths: list[float], warnings: list[str]
) -> PreviewReport:
    frames = [{"frame": still.frame, "seconds": still.seconds, "scene": still.scene} for still in stills]
    return PreviewReport(str(out), frames, list(map(match_name, matches)), strengths, warnings)
