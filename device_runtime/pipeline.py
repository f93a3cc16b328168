"""The main job: decode, find the key frames, have them stylized, make the frames between, encode."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final, Literal, cast

import numpy as np
from numpy.typing import NDArray

from device_runtime.fallback import Fallback
from device_runtime.flow import DisFlow, FlowEstimator, Motion
from device_runtime.interpolate import Interpolator, TransferInterpolator, WarpInterpolator, blended
from device_runtime.kernels import KeyFrameScore, Transfer, Warp
from device_runtime.key_frames import MAX_INTERVAL, KeyFramePolicy, KeyFrameSelector, parse_policy
from device_runtime.key_requests import KeyRequests
from device_runtime.output_file import check_output
from device_runtime.photo import check_photo_output, is_photo, read_photo, write_photo
from device_runtime.report import Report, Stopwatch
from device_runtime.segments import Segment, motions, segments
from device_runtime.stylizer import Stylizer
from device_runtime.video import Frame, VideoReader
from device_runtime.video_writer import VideoWriter
from edge_triton.client import Reply
from export.manifest import Bundle

Interpolation = Literal["warp", "transfer"]
Progress = Callable[[int, int | None], None]

# What the edge sends back unless told otherwise: moving pixels needs pixels, moving maps needs maps.
USUAL_REPLY: Final[dict[Interpolation, Reply]] = {"warp": "image", "transfer": "map"}
# A map's cells are so wide that a quarter of the frame's sides shows their motion well enough.
FLOW_SCALE: Final[dict[Interpolation, float]] = {"warp": 0.5, "transfer": 0.25}
NETWORK_PIXELS: Final = 512 * 288  # where a bundle does not say


def check_request(
    source: Path, style_photo: Path, out: Path, *, bundle: Bundle, policy: str = "codec"
) -> None:
    """Say within moments what is wrong with a request, before a server is started for it.

    Args:
        source: A video or a photo.
        style_photo: The photo whose colours it shall take on.
        out: The result.
        bundle: Holds the TFLite kernels.
        policy: Key frames, as for `stylize_video`.

    Raises:
        KeyFramePolicyError: `policy` is not understood.
        MVStylizerError: As `stylize_video` and `stylize_photo` raise them for files.
    """
    _parsed(policy, bundle, MAX_INTERVAL)
    read_photo(style_photo)
    if is_photo(source):
        read_photo(source)
        check_photo_output(out, source, style_photo)
        return
    check_output(out, source, style_photo)
    with VideoReader(source) as reader:
        VideoWriter(out, reader.info)


def stylize_video(
    source: Path,
    style_photo: Path,
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
    fallback: Fallback | None = None,
    progress: Progress | None = None,
) -> Report:
    """Stylize a video after a photo.

    Memory is bounded by `max_interval` frames, whatever the video's length. The result appears under its name
    when it is whole; whatever stops the run leaves what was there before.

    Args:
        source: The video.
        style_photo: The photo whose colours it shall take on.
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
        fallback: Loads a stylizer on the device for the key frames that the edge does not answer, which the
            report names. None = an edge that goes away ends the run.
        progress: Called after each frame with the number of frames done and an estimate of all, or None.

    Raises:
        ValueError: An option outside its range (KeyFramePolicyError for `policy`).
        VideoError: The video cannot be read or the result cannot be written.
        PhotoError: The style is no photo.
        OutputError: The output's folder is missing or read-only, or the output is one of the inputs.
        MVStylizerError: The stylizer or a kernel fails.
    """
    reply = _checked_reply(interpolation, reply, strength)
    watch = Stopwatch()
    selector = KeyFrameSelector(_parsed(policy, bundle, max_interval), max_interval=max_interval)
    flow = DisFlow(FLOW_SCALE[interpolation])
    style = read_photo(style_photo)
    check_output(out, source, style_photo)
    map_pixels = int(bundle.network.get("network_pixels", NETWORK_PIXELS))
    frames = 0
    key_frames: list[int] = []
    with (
        VideoReader(source) as reader,
        _open_interpolator(interpolation, bundle, strength) as interpolator,
        KeyRequests(
            stylizer, style, reply=reply, map_pixels=map_pixels, watch=watch, fallback=fallback
        ) as requests,
        VideoWriter(out, reader.info, crf=crf) as writer,
    ):
        decoded = watch.measured("decode", reader)
        for segment in segments(decoded, selector, requests.submit, flow, watch, two_sided=two_sided):
            key_frames.append(segment.key.frame.index)
            for frame, picture in _finished(segment, interpolator, flow, watch):
                with watch.measure("encode"):
                    writer.write(picture, frame.pts, frame.duration)
                frames += 1
                if progress is not None:
                    progress(frames, reader.info.frame_count)
    fell_back = [key_frames[number] for number in requests.fell_back]
    return Report(
        frames=frames,
        key_frames=len(key_frames),
        intermediate_frames=frames - len(key_frames),
        seconds=watch.seconds(),
        interpolation=interpolation,
        reply=reply,
        out=str(out),
        width=reader.info.width,
        height=reader.info.height,
        fallback_key_frames=fell_back,
        warnings=[*reader.warnings, *writer.warnings, *_outage(len(fell_back), len(key_frames))],
    )


def stylize_photo(
    source: Path, style_photo: Path, out: Path, *, stylizer: Stylizer, strength: float = 1.0
) -> Report:
    """Stylize a photo after a photo, in one request.

    Args:
        source: The photo.
        style_photo: The photo whose colours it shall take on.
        out: The result; its suffix names the format.
        stylizer: An edge, or this machine.
        strength: 0 (the original) to 1 (the full style).

    Raises:
        ValueError: `strength` is outside 0..1.
        PhotoError: One of the photos cannot be read, or the result cannot be written.
        OutputError: The output's folder is missing or read-only, or the output is one of the inputs.
        MVStylizerError: The stylizer fails.
    """
    reply = _checked_reply("warp", "image", strength)
    watch = Stopwatch()
    with watch.measure("decode"):
        photo, style = read_photo(source), read_photo(style_photo)
    check_photo_output(out, source, style_photo)
    with KeyRequests(stylizer, style, reply=reply, map_pixels=NETWORK_PIXELS, watch=watch) as requests:
        image = requests.submit(photo).result().image
    with watch.measure("encode"):
        write_photo(out, blended(photo, cast("NDArray[np.uint8]", image), strength))
    height, width = photo.shape[:2]
    return Report(1, 1, 0, watch.seconds(), "none", reply, str(out), width, height)


def _finished(
    segment: Segment, interpolator: Interpolator, flow: FlowEstimator, watch: Stopwatch
) -> Iterator[tuple[Frame, NDArray[np.uint8]]]:
    """Give the frames of a segment with their finished pictures, the key frame first."""
    key, following = segment.key, segment.following
    behind: Sequence[Motion | None] = [None] * len(segment.between)
    if following is not None:
        with watch.measure("flow"):  # done before waiting for the following key frame's reply
            behind = list(motions(segment.between[::-1], following, flow))[::-1]
    stylized = key.stylized, following.stylized if following else None
    with watch.measure("interpolate"):
        picture = interpolator.begin(*stylized)
    yield key.frame, picture
    before = watch.measured("flow", motions(segment.between, key, flow))
    for each, past, next_one in zip(segment.between, before, behind, strict=True):
        with watch.measure("interpolate"):
            picture = interpolator.between(each.frame.rgb, past, next_one, segment.position(each.frame))
        yield each.frame, picture


def _outage(missed: int, key_frames: int) -> list[str]:
    if not missed:
        return []
    return [f"The edge did not answer for {missed} of {key_frames} key frames: the device made them itself"]


@contextmanager
def _open_interpolator(kind: Interpolation, bundle: Bundle, strength: float) -> Iterator[Interpolator]:
    with Transfer(bundle.file("transfer")) as transfer:
        if kind == "transfer":
            yield TransferInterpolator(transfer, strength=strength)
            return
        warp = bundle.file("warp")
        with Warp(warp) as before, Warp(warp) as behind:
            yield WarpInterpolator(before, behind, transfer, strength=strength)


def _parsed(policy: str, bundle: Bundle, max_interval: int) -> KeyFramePolicy:
    return parse_policy(policy, lambda: KeyFrameScore(bundle.file("key_frame")), max_interval=max_interval)


def _checked_reply(interpolation: Interpolation, reply: Reply | None, strength: float) -> Reply:
    if interpolation not in USUAL_REPLY:
        raise ValueError(f"interpolation {interpolation!r} is not one of {', '.join(USUAL_REPLY)}")
    if not 0 <= strength <= 1:
        raise ValueError(f"strength {strength} is not from 0 to 1")
    if reply not in (None, "image", "map") or (interpolation == "transfer" and reply == "image"):
        raise ValueError(f"{interpolation} cannot work with reply {reply!r}")
    return reply or USUAL_REPLY[interpolation]
