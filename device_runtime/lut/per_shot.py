"""One .cube LUT per shot of a video, and an edit decision list (``mvstylizer lut --per-shot``)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from device_runtime.frames import NETWORK_PIXELS
from device_runtime.lut.cube import SIZE, write_cube
from device_runtime.lut.edl import MAX_EVENTS, Event, write_edl
from device_runtime.lut.shot_lut import check_size
from device_runtime.lut.shots import fit_shot, shots, spread
from device_runtime.media.atomic_file import make_folder
from device_runtime.media.excerpt import ExcerptReader
from device_runtime.media.video_info import VideoError
from device_runtime.options import DEFAULT_OPTIONS, StylizeOptions
from device_runtime.report import versioned
from device_runtime.stylizers.style_mix import StyleMix, StylePhotos
from mvstylizer.bundle import Bundle
from mvstylizer.stylizer import Stylizer


@dataclass(frozen=True)
class ShotEntry:
    """The LUT of one shot.

    Attributes:
        out: The .cube file.
        first: Number of the shot's first frame, from 0.
        end: Number of the frame after its last one.
        start: Its start in seconds.
        key_frames: Numbers of the key frames that were stylized for it.
    """

    out: str
    first: int
    end: int
    start: float
    key_frames: list[int]


@dataclass(frozen=True)
class PerShotReport:
    """Result of computing a LUT for each shot.

    Attributes:
        out: The folder.
        edl: The edit decision list in it.
        size: Nodes per axis.
        shots: One entry per shot.
    """

    out: str
    edl: str
    size: int
    shots: list[ShotEntry]

    def as_dict(self) -> dict[str, Any]:
        """Return the fields and ``schema_version`` as JSON-serializable values."""
        return versioned(asdict(self))


def per_shot_luts(
    source: Path,
    style_photo: StylePhotos,
    out: Path,
    *,
    options: StylizeOptions = DEFAULT_OPTIONS,
    stylizer: Stylizer,
    bundle: Bundle,
    size: int = SIZE,
    progress: Callable[[int, int | None], None] | None = None,
) -> PerShotReport:
    """Write a LUT for each shot, NAME-001.cube and so on, and NAME.edl, which says where each applies.

    Args:
        source: A video.
        style_photo: The style photo, or several with weights.
        out: The folder; created if missing.
        options: As for `shot_lut`.
        stylizer: Stylizes the key frames.
        bundle: Declares the network's input size.
        size: Nodes per axis, 2 to 129.
        progress: Called after each shot with the number of frames done and an estimate of the total.

    Raises:
        ValueError: `size` is out of range, or a StyleWeightError.
        VideoError: The video cannot be read, or has more than 999 shots.
        PhotoError: A style photo cannot be read.
        OutputError: A file cannot be written.
        MVStylizerError: The stylizer fails.
    """
    check_size(size)
    make_folder(out)
    style = StyleMix.read(style_photo, options.match)
    code = style.encoded_by(stylizer)
    pixels = int(bundle.network.get("network_pixels", NETWORK_PIXELS))
    entries: list[ShotEntry] = []
    with ExcerptReader(source, input_lut=options.input_lut) as reader:
        for number, shot in enumerate(shots(reader, options, bundle), 1):
            if number > MAX_EVENTS:
                raise VideoError(f"{source.name} has more than {MAX_EVENTS} shots", "Split the video")
            cube = out / f"{source.stem}-{number:03}.cube"
            lut = fit_shot(shot.keys, code, options, stylizer=stylizer, pixels=pixels, size=size)
            write_cube(cube, lut, cube.stem)
            used = [key.index for key in spread(shot.keys)]
            entries.append(ShotEntry(str(cube), shot.first, shot.end, round(shot.keys[0].seconds, 3), used))
            if progress is not None:
                progress(shot.end, reader.info.frame_count)
    edl = out / f"{source.stem}.edl"
    events = [Event(each.first, each.end, f"LUT: {Path(each.out).name}") for each in entries]
    write_edl(edl, source.stem, source.name, reader.info.rate, events)
    return PerShotReport(str(out), str(edl), size, entries)
