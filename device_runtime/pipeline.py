"""The main job: decode, find the key frames, have them stylized, make the frames between, encode."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import cast

import numpy as np
from numpy.typing import NDArray

from device_runtime.frames import NETWORK_PIXELS, Finished, Pictures, open_pictures
from device_runtime.interpolation.interpolator import blended
from device_runtime.key_frames.policy import MAX_INTERVAL
from device_runtime.labels.masks import LabelledPicture, Labels, MaskFiles, read_labels, stylize_labels
from device_runtime.media.atomic_file import check_output
from device_runtime.media.photo import check_photo_output, is_photo, read_photo, write_photo
from device_runtime.media.reader import VideoReader
from device_runtime.media.writer import VideoWriter
from device_runtime.motion.flow import FlowEstimator
from device_runtime.options import STEADY_S, FlowStart, Interpolation, StylizeOptions
from device_runtime.report import LabelUse, Report, Stopwatch
from device_runtime.resume import Made, describe_job, join_pieces, keep_pieces
from device_runtime.resume_folder import WorkFolder
from device_runtime.stylizers.fallback import Fallback
from device_runtime.stylizers.request_queue import KeyRequests
from device_runtime.stylizers.style_mix import StyleMix, StylePhotos, normalised
from mvstylizer.bundle import Bundle
from mvstylizer.stylizer import Reply, Stylizer

Progress = Callable[[int, int | None], None]


def check_request(
    source: Path,
    style_photo: StylePhotos,
    out: Path,
    *,
    bundle: Bundle,
    policy: str = "codec",
    masks: MaskFiles | None = None,
) -> None:
    """Say within moments what is wrong with a request, before a server is started for it.

    Args:
        source: A video or a photo.
        style_photo: The photo whose colours it shall take on, or several and their weights.
        out: The result.
        bundle: Holds the TFLite kernels.
        policy: Key frames, as for `stylize_video`.
        masks: Label images, as for `stylize_photo`.

    Raises:
        ValueError: As `stylize_photo` raises it for `masks`.
        KeyFramePolicyError: `policy` is not understood.
        StyleWeightError: The weights are no weights.
        MVStylizerError: As `stylize_video` and `stylize_photo` raise them for files.
    """
    StylizeOptions(policy).selector(bundle)
    StyleMix.read(style_photo)
    if is_photo(source):
        photo = read_photo(source)
        check_photo_output(out, source, *normalised(style_photo), *(masks or ()))
        if masks is not None:
            _labelled(photo, style_photo, masks)
        return
    check_output(out, source, *normalised(style_photo))
    with VideoReader(source) as reader:
        VideoWriter(out, reader.info)


def stylize_video(
    source: Path,
    style_photo: StylePhotos,
    out: Path,
    *,
    stylizer: Stylizer,
    bundle: Bundle,
    policy: str = "codec",
    interpolation: Interpolation = "transfer",
    reply: Reply | None = None,
    strength: float = 1.0,
    crf: int = 18,
    max_interval: int = MAX_INTERVAL,
    two_sided: bool = True,
    steady_s: float = STEADY_S,
    flow_start: FlowStart = "before",
    fallback: Fallback | None = None,
    resume: bool = False,
    flow: FlowEstimator | None = None,
    progress: Progress | None = None,
) -> Report:
    """Stylize a video after a photo.

    Memory is bounded by twice `max_interval` frames, whatever the video's length. The result appears under
    its name when it is whole; whatever stops the run leaves what was there before.

    Args:
        source: The video.
        style_photo: The photo whose colours it shall take on, or several and their weights.
        out: The result: .mp4, .m4v, .mov or .mkv.
        stylizer: An edge, or this machine.
        bundle: Holds the TFLite kernels.
        policy: Key frames: ``codec``, ``content``, ``every:N`` or ``adaptive:Q`` (see `parse_policy`).
        interpolation: How the frames between are made.
        reply: ``image`` or ``map``; None takes what the interpolation needs. ``transfer`` needs ``map``.
        strength: 0 (the original) to 1 (the full style).
        crf: x264's quality, 0 (lossless) to 51.
        max_interval: At most so many frames from one key frame to the next.
        two_sided: Use the key frames before and behind; False only the one before, as the paper does.
        steady_s: Seconds over which affine maps are averaged from key frame to key frame of a scene, so that
            key frames do not flicker; see `TemporalSmoothing`. 0 = each as the edge gives it.
        flow_start: ``before``, or ``codec``: the search for motion starts from the codec's vectors too.
        fallback: Loads a stylizer on the device for the key frames that the edge does not answer, which the
            report names. None = an edge that goes away ends the run.
        resume: Keep finished pieces in a hidden folder beside the result until it is whole, and begin with
            those that an interrupted run of the same job left. It then equals that of an unbroken run.
        flow: Finds motion; None = OpenCV's DIS. With `resume`, give the same one each time.
        progress: Called after each frame with the number of frames done and an estimate of all, or None.

    Raises:
        ValueError: An option outside its range (KeyFramePolicyError for `policy`, StyleWeightError).
        VideoError: The video cannot be read or the result cannot be written.
        PhotoError: The style is no photo.
        OutputError: The output's folder is missing or read-only, or the output is one of the inputs.
        MVStylizerError: The stylizer or a kernel fails.
    """
    recipe = StylizeOptions(
        policy, interpolation, reply, strength, max_interval, two_sided, steady_s, flow_start
    )
    recipe.selector(bundle)  # wrong words are said before any work is done
    watch = Stopwatch()
    style = StyleMix.read(style_photo)
    target = check_output(out, source, *normalised(style_photo))
    with VideoReader(source, codec_motion=flow_start == "codec") as reader:
        writer = VideoWriter(out, reader.info, crf=crf)
        folder = (
            WorkFolder(target, describe_job(source, style_photo, bundle, recipe, crf)) if resume else None
        )
        resumed = folder.frames if folder else 0
        with open_pictures(
            reader,
            style,
            recipe,
            stylizer=stylizer,
            bundle=bundle,
            watch=watch,
            fallback=fallback,
            first=resumed,
            carried=folder.carried if folder else None,
            flow=flow,
        ) as pictures:
            told = _told(pictures, resumed, reader.info.frame_count, progress)
            if folder:
                keep_pieces(told, pictures, folder, reader.info, crf=crf, watch=watch)
                made = join_pieces(folder, writer, reader.info, watch=watch)
            else:
                made = _write(told, pictures, writer, watch)
    key_frames, fell_back = len(made.key_frames), made.fallback_key_frames
    bytes_up, bytes_down = pictures.traffic
    return Report(
        frames=made.frames,
        key_frames=key_frames,
        intermediate_frames=made.frames - key_frames,
        seconds=watch.seconds(),
        interpolation=interpolation,
        reply=recipe.asked_reply,
        out=str(out),
        width=reader.info.width,
        height=reader.info.height,
        fallback_key_frames=fell_back,
        resumed_frames=resumed,
        bytes_up=bytes_up,
        bytes_down=bytes_down,
        warnings=[*reader.warnings, *writer.warnings, *_outage(len(fell_back), key_frames)],
        key_frame_places=made.key_frames,
    )


def stylize_photo(
    source: Path,
    style_photo: StylePhotos,
    out: Path,
    *,
    stylizer: Stylizer,
    strength: float = 1.0,
    masks: MaskFiles | None = None,
    progress: Progress | None = None,
) -> Report:
    """Stylize a photo after a photo, in one request; with masks in one for each label.

    Args:
        source: The photo.
        style_photo: The photo whose colours it shall take on, or several and their weights.
        out: The result; its suffix names the format.
        stylizer: An edge, or this machine.
        strength: 0 (the original) to 1 (the full style).
        masks: Label images of the photo and of the style, which is then one photo: what has one label takes
            on the colours of what has the same label there. See `stylize_labels`.
        progress: With masks, called after each request with the number of those done and of all.

    Raises:
        ValueError: `strength` is outside 0..1, or masks are given with several styles; or a StyleWeightError.
        PhotoError: One of the pictures cannot be read, or the result cannot be written.
        LabelImageError: A label image does not fit its photo, or is none.
        OutputError: The output's folder is missing or read-only, or the output is one of the inputs.
        MVStylizerError: The stylizer fails.
    """
    StylizeOptions(strength=strength)
    watch = Stopwatch()
    with watch.measure("decode"):
        photo, style = read_photo(source), StyleMix.read(style_photo)
        check_photo_output(out, source, *normalised(style_photo), *(masks or ()))
        labelled = None if masks is None else _labelled(photo, style_photo, masks)
    if labelled is None:
        made = _at_once(photo, style, stylizer, watch)
    else:
        made = stylize_labels(
            photo, *labelled, stylizer=stylizer, map_pixels=NETWORK_PIXELS, watch=watch, progress=progress
        )
    with watch.measure("encode"):
        write_photo(out, blended(photo, made.picture, strength))
    height, width = photo.shape[:2]
    return Report(
        1, 1, 0, watch.seconds(), "none", "map" if masks else "image", str(out), width, height,
        bytes_up=made.sent, bytes_down=made.received, warnings=_unmatched(made.uses), key_frame_places=[0],
        labels=made.uses,
    )  # fmt: skip


def _at_once(
    photo: NDArray[np.uint8], style: StyleMix, stylizer: Stylizer, watch: Stopwatch
) -> LabelledPicture:
    """Stylize a photo as a whole."""
    with KeyRequests(stylizer, style, reply="image", map_pixels=NETWORK_PIXELS, watch=watch) as requests:
        image, _, sent, received = requests.submit(photo).result()
    return LabelledPicture(cast("NDArray[np.uint8]", image), [], sent, received)


def _told(pictures: Pictures, done: int, total: int | None, progress: Progress | None) -> Iterator[Finished]:
    """Give the pictures on, and tell after each that it is done."""
    for each in pictures:
        yield each
        done += 1
        if progress is not None:
            progress(done, total)


def _write(finished: Iterable[Finished], pictures: Pictures, writer: VideoWriter, watch: Stopwatch) -> Made:
    frames = 0
    with writer:
        for frame, picture, *_ in finished:
            with watch.measure("encode"):
                writer.write(picture, frame.pts, frame.duration)
            frames += 1
    return Made(frames, pictures.key_frames, pictures.fallback_key_frames)


def _labelled(
    photo: NDArray[np.uint8], style_photo: StylePhotos, masks: MaskFiles
) -> tuple[NDArray[np.uint8], Labels, Labels]:
    """Read what masks need: the style photo at its full size, the photo's labels and the style's."""
    paths = list(normalised(style_photo))
    if len(paths) > 1:
        raise ValueError("masks go with one style photo")
    style = read_photo(paths[0])
    return style, read_labels(masks.content, photo), read_labels(masks.style, style)


def _unmatched(uses: list[LabelUse]) -> list[str]:
    if not uses or any(use.own_style for use in uses):
        return []
    return ["The two label images have no label in common that is large enough: the whole style was taken"]


def _outage(missed: int, key_frames: int) -> list[str]:
    if not missed:
        return []
    return [f"The edge did not answer for {missed} of {key_frames} key frames: the device made them itself"]
