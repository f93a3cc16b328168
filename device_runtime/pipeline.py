"""Stylize a video or a photo.

Usage:
    with EdgeClient("edge.example:8001") as edge:
        report = stylize_video(
            Path("street.mp4"), Path("dusk.jpg"), Path("out.mp4"), stylizer=edge, bundle=load_bundle(folder)
        )
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, cast

import numpy as np
from numpy.typing import NDArray

from device_runtime.frames import NETWORK_PIXELS, Finished, Pictures, open_pictures
from device_runtime.interpolation.deep_transfer import transferred_deep
from device_runtime.interpolation.grid import grid_of, weakened
from device_runtime.interpolation.moving import blended
from device_runtime.labels.blend import blended_maps
from device_runtime.labels.masks import LabeledPicture, MaskFiles, read_mask_files, stylize_labels
from device_runtime.media.atomic_file import check_output
from device_runtime.media.excerpt import ExcerptReader
from device_runtime.media.input_lut import InputLut
from device_runtime.media.photo import Photo, check_photo_output, open_photo, write_like
from device_runtime.media.photo_format import FORMATS
from device_runtime.media.writer import VideoWriter
from device_runtime.motion.flow import FlowEstimator
from device_runtime.options import DEFAULT_OPTIONS, StylizeOptions
from device_runtime.report import LabelUse, Report, Stopwatch
from device_runtime.resume import WrittenVideo, describe_job, join_pieces, keep_pieces
from device_runtime.resume_folder import WorkFolder
from device_runtime.stylizers.fallback import Fallback
from device_runtime.stylizers.request_queue import KeyRequests
from device_runtime.stylizers.style_mix import StyleMix, StylePhotos, check_match, normalized
from mvstylizer.bundle import Bundle
from mvstylizer.stylizer import Stylizer

MAX_HELD_BYTES: Final = 512 * 2**20  # of pictures between two key frames

Progress = Callable[[int, int | None], None]
"""Takes the number of frames done and an estimate of the total, or None."""


def stylize_video(
    source: Path,
    style_photo: StylePhotos,
    out: Path,
    *,
    options: StylizeOptions = DEFAULT_OPTIONS,
    stylizer: Stylizer,
    bundle: Bundle,
    progress: Progress | None = None,
    fallback: Fallback | None = None,
    resume: bool = False,
    flow: FlowEstimator | None = None,
) -> Report:
    """Stylize a video after a photo.

    Memory is bounded by twice ``options.max_interval`` frames, whatever the length of the video. If they
    would take more than 512 MiB, the video is decoded twice instead, and only a few frames are held. `out` is
    replaced only by a complete result; a run that fails or is interrupted leaves it unchanged.

    Args:
        source: The video.
        style_photo: The style photo, or several with weights.
        out: The result: .mp4, .m4v, .mov or .mkv.
        options: Options of the run.
        stylizer: Stylizes key frames: an `EdgeClient`, or a stylizer on this machine.
        bundle: Provides the TFLite kernels.
        progress: Called after each frame.
        fallback: Loads a stylizer on the device for key frames that the edge does not answer; the report
            lists them. None = the run fails when the edge becomes unavailable.
        resume: Keep finished pieces in a hidden folder next to the result until it is complete, and continue
            from the pieces of an interrupted run of the same job. The result equals that of an unbroken run.
        flow: Motion estimator; defaults to OpenCV's DIS. Use the same one when resuming.

    Returns:
        What was done and how long each stage took.

    Raises:
        ValueError: The style weights are invalid (StyleWeightError).
        VideoError: The video cannot be read, ends before `options.start`, or the result cannot be written.
        PhotoError: A style photo cannot be read.
        OutputError: The output's folder is missing or read-only, the output is one of the inputs, or the
            pieces of an interrupted run are from another release.
        MVStylizerError: The stylizer or a kernel fails.
    """
    check_match(options.match, bundle)
    watch, style = Stopwatch(), StyleMix.read(style_photo, options.match)
    target = check_output(out, source, *normalized(style_photo))
    with ExitStack() as opened, options.reader(source) as reader:
        writer = VideoWriter(out, reader.info, encoding=options.encoding)
        folder = WorkFolder(target, describe_job(source, style_photo, bundle, options)) if resume else None
        if folder:
            opened.callback(folder.close)
        done = folder.frames if folder else 0
        again = None
        if reader.info.picture_bytes * 2 * options.max_interval > MAX_HELD_BYTES:
            again = opened.enter_context(options.reader(source, codec_motion=False))
        with open_pictures(
            reader,
            style,
            options,
            stylizer=stylizer,
            bundle=bundle,
            watch=watch,
            fallback=fallback,
            first=done,
            carried=folder.carried if folder else None,
            flow=flow,
            again=again,
        ) as pictures:
            finished = _reported(pictures, done, reader.info.frame_count, progress)
            if folder:
                keep_pieces(finished, pictures, folder, reader.info, encoding=options.encoding, watch=watch)
                written = join_pieces(folder, writer, reader.info, watch=watch)
            else:
                written = _write(finished, pictures, writer, watch)
    report = _report(out, reader, writer, written, pictures, options, done, watch)
    return replace(report, trace_id=_trace_id(stylizer))


def stylize_photo(
    source: Path,
    style_photo: StylePhotos,
    out: Path,
    *,
    options: StylizeOptions = DEFAULT_OPTIONS,
    stylizer: Stylizer,
    progress: Progress | None = None,
    masks: MaskFiles | None = None,
) -> Report:
    """Stylize a photo after a photo, in one request; with label images, in one request per label.

    Args:
        source: The photo.
        style_photo: The style photo, or several with weights.
        out: The result; its suffix selects the format.
        options: Only `strength`, `match`, `protect`, `max_pixels` and `input_lut` apply.
        stylizer: An `EdgeClient`, or a stylizer on this machine.
        progress: Called after each request when label images are given.
        masks: Label images of the photo and of the style, which must then be a single photo. Each label takes
            the style of the same label. See `stylize_labels`.

    Returns:
        What was done and how long each stage took.

    Raises:
        ValueError: Label images are combined with several styles, or a StyleWeightError.
        PhotoError: A picture cannot be read, or the result cannot be written.
        LabelImageError: A label image is invalid or does not fit its photo.
        OutputError: The output's folder is missing or read-only, or the output is one of the inputs.
        MVStylizerError: The stylizer fails.
    """
    watch = Stopwatch()
    with watch.measure("decode"):
        given, style = _content(source, options), StyleMix.read(style_photo, options.match)
        photo = given.rgb
        check_photo_output(out, source, *normalized(style_photo), *(masks or ()))
        labeled = None if masks is None else read_mask_files(photo, style_photo, masks)
    is_deep = given.deep is not None and labeled is None and FORMATS[out.suffix.lower()].has_depth
    if labeled is None:
        made = _at_once(photo, style, stylizer, options, watch, given.deep if is_deep else None)
    else:
        made = stylize_labels(
            photo,
            *labeled,
            stylizer=stylizer,
            map_pixels=NETWORK_PIXELS,
            match=options.match,
            protect_skin=options.protect == "skin",
            watch=watch,
            progress=progress,
        )
    with watch.measure("encode"):
        picture = made.picture if is_deep else blended(photo, made.picture, options.strength)
        lost = write_like(out, picture, given)
    return Report(
        frames=1,
        key_frames=1,
        intermediate_frames=0,
        seconds=watch.seconds(),
        interpolation="none",
        edge_output="map" if masks or is_deep or options.protect == "skin" else "image",
        out=str(out),
        width=photo.shape[1],
        height=photo.shape[0],
        bytes_sent=made.sent,
        bytes_received=made.received,
        warnings=[*given.warnings, *lost, *_unmatched(made.uses)],
        key_frame_indices=[0],
        labels=made.uses,
        trace_id=_trace_id(stylizer),
    )


def _content(source: Path, options: StylizeOptions) -> Photo:
    """Read a photo; an input LUT gives it eight bits per channel."""
    photo = open_photo(source, max_pixels=options.max_pixels)
    if options.input_lut is None:
        return photo
    return replace(photo, rgb=InputLut(Path(options.input_lut)).picture(photo.rgb), deep=None)


def _trace_id(stylizer: Stylizer) -> str:
    """Return the trace id of a stylizer on an edge; a stylizer on this machine has none."""
    return str(getattr(stylizer, "trace_id", ""))


def _at_once(
    photo: NDArray[np.uint8],
    style: StyleMix,
    stylizer: Stylizer,
    options: StylizeOptions,
    watch: Stopwatch,
    deep: NDArray[np.uint16] | None,
) -> LabeledPicture:
    """Stylize a photo as a whole; with `deep`, its pixels of 16 bits, at the strength of the options."""
    protects = options.protect == "skin"
    with KeyRequests(
        stylizer,
        style,
        reply="image" if deep is None and not protects else "map",
        map_pixels=NETWORK_PIXELS,
        watch=watch,
        protect_skin=protects,
    ) as requests:
        made = requests.submit(photo).result()
    image, grid, sent, received = made
    if grid is None:
        return LabeledPicture(cast("NDArray[np.uint8]", image), [], sent, received)
    with watch.measure("interpolate"):
        picture: Any
        if deep is None:
            picture = blended_maps(photo, np.zeros(photo.shape[:2], np.uint8), [grid_of(made)])
        else:
            picture = transferred_deep(deep, weakened(grid_of(made), options.strength))
    return LabeledPicture(picture, [], sent, received)


def _reported(
    pictures: Pictures, done: int, total: int | None, progress: Progress | None
) -> Iterator[Finished]:
    """Yield the pictures and report progress after each."""
    for each in pictures:
        yield each
        done += 1
        if progress is not None:
            progress(done, total)


def _write(
    finished: Iterable[Finished], pictures: Pictures, writer: VideoWriter, watch: Stopwatch
) -> WrittenVideo:
    frames = 0
    with writer:
        for frame, picture, *_ in finished:
            with watch.measure("encode"):
                writer.write(picture, frame.pts, frame.duration)
            frames += 1
    return WrittenVideo(frames, pictures.key_frames, pictures.fallback_key_frames)


def _report(
    out: Path,
    reader: ExcerptReader,
    writer: VideoWriter,
    written: WrittenVideo,
    pictures: Pictures,
    options: StylizeOptions,
    resumed: int,
    watch: Stopwatch,
) -> Report:
    key_frames, fallback_key_frames = len(written.key_frames), written.fallback_key_frames
    bytes_sent, bytes_received = pictures.traffic
    return Report(
        frames=written.frames,
        key_frames=key_frames,
        intermediate_frames=written.frames - key_frames,
        seconds=watch.seconds(),
        interpolation=options.interpolation,
        edge_output=options.requested_output,
        out=str(out),
        width=reader.info.width,
        height=reader.info.height,
        fallback_key_frames=fallback_key_frames,
        resumed_frames=resumed,
        bytes_sent=bytes_sent,
        bytes_received=bytes_received,
        warnings=[*reader.warnings, *writer.warnings, *_outage(len(fallback_key_frames), key_frames)],
        key_frame_indices=written.key_frames,
    )


def _unmatched(uses: list[LabelUse]) -> list[str]:
    if not uses or any(use.own_style for use in uses):
        return []
    return ["The label images share no label that is large enough: the whole style was used"]


def _outage(missed: int, key_frames: int) -> list[str]:
    if not missed:
        return []
    return [f"The edge did not answer for {missed} of {key_frames} key frames: the device stylized them"]
