from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from numpy.typing import NDArray
from skimage import data

from device_runtime.kernels import Transfer
from device_runtime.live.session import stylize_live
from device_runtime.live.source import LiveSource
from device_runtime.live.stylizer import LiveStyle
from device_runtime.media.encoding import EncoderError
from device_runtime.media.photo import write_photo
from device_runtime.media.reader import VideoReader
from device_runtime.media.video_info import VideoError
from device_runtime.options import StylizeOptions
from device_runtime.report import Stopwatch
from device_runtime.stylizers.request_queue import KeyRequests
from device_runtime.stylizers.style_mix import StyleMix
from mvstylizer.bundle import Bundle, default_bundle, load_bundle
from mvstylizer.stylizer import Reply, StylizedFrame
from tests.device_runtime.clips import moving_square, remux, write_clip
from tests.device_runtime.media.test_frames import interlaced

PLAIN = StylizeOptions(strength=0)
RED = np.eye(3, 4, dtype=np.float32) * np.array([[1], [0.3], [0.3]], np.float32)


class Reddening:
    """Reduces green and blue; answers only while `may_answer` is set."""

    def __init__(self) -> None:
        self.may_answer = threading.Event()
        self.may_answer.set()
        self.requests = 0

    def encode_style(self, style: NDArray[np.uint8]) -> NDArray[np.float32]:
        return np.zeros(4, np.float32)

    def stylize(
        self,
        frame: NDArray[np.uint8],
        style_code: NDArray[np.float32],
        *,
        r: float = 1.0,
        reply: Reply = "image",
    ) -> StylizedFrame:
        self.may_answer.wait()
        self.requests += 1
        return StylizedFrame(None, np.broadcast_to(RED, (6, 8, 2, 3, 4)).copy(), 100, 50)

    def close(self) -> None:
        self.may_answer.set()


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    return load_bundle(default_bundle())


@pytest.fixture
def style(tmp_path: Path) -> Path:
    write_photo(tmp_path / "style.png", data.coffee())
    return tmp_path / "style.png"


def redness(rgb: NDArray[np.uint8]) -> float:
    red, green, blue = rgb.mean((0, 1))
    return float(red / (green + blue))


def free_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def camera(port: int) -> Iterator[None]:
    """Send MPEG-TS over UDP, 25 pictures per second, until the block ends."""
    over = threading.Event()

    def send() -> None:
        with av.open(f"udp://127.0.0.1:{port}?pkt_size=1316", "w", format="mpegts") as container:
            stream = container.add_stream("libx264", rate=25)
            stream.width, stream.height, stream.pix_fmt = 160, 96, "yuv420p"
            stream.codec_context.options = {"tune": "zerolatency", "g": "10"}
            for index in range(10**6):
                if over.wait(0.04):
                    return
                frame = av.VideoFrame.from_ndarray(moving_square(index, 160, 96), format="rgb24")
                frame.pts, frame.time_base = index, Fraction(1, 25)
                container.mux(stream.encode(frame))

    thread = threading.Thread(target=send)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def stop_at(frames: int) -> Any:
    def progress(done: int, latency: float) -> None:
        assert latency > 0
        if done == frames:
            raise KeyboardInterrupt

    return progress


def test_a_network_stream_is_stylized_into_another_one(style: Path, bundle: Bundle) -> None:
    given, wanted = free_port(), free_port()
    seen: list[float] = []

    def watch() -> None:
        with LiveSource(f"udp://127.0.0.1:{wanted}") as viewer:
            while len(seen) < 20 and (captured := viewer.take()) is not None:
                seen.append(redness(captured.picture.to_ndarray(format="rgb24")))

    viewer = threading.Thread(target=watch)
    viewer.start()

    def until_seen(done: int, latency: float) -> None:
        if not viewer.is_alive():
            raise KeyboardInterrupt

    with camera(given):
        report = stylize_live(
            f"udp://127.0.0.1:{given}",
            style,
            f"udp://127.0.0.1:{wanted}?pkt_size=1316",
            stylizer=Reddening(),
            bundle=bundle,
            progress=until_seen,
        )
    viewer.join()
    assert len(seen) == 20
    assert redness(moving_square(0, 160, 96)) < 0.7 < min(seen[5:])
    assert (report.width, report.height) == (160, 96)
    assert report.key_frames >= 1
    assert (report.bytes_sent, report.bytes_received) >= (100, 50)
    assert 0 < report.latency_ms["median"] <= report.latency_ms["p95"]


def test_a_file_goes_at_its_own_pace_into_a_file(bikes: Path, style: Path, bundle: Bundle) -> None:
    source, out = remux(bikes, style.with_name("street.mp4"), until=2.0), style.with_name("out.mp4")
    began = time.monotonic()
    report = stylize_live(str(source), style, str(out), stylizer=Reddening(), bundle=bundle)
    assert time.monotonic() - began > 1.9
    with VideoReader(source) as reader:
        assert report.frames + report.dropped == len(list(reader))
    with VideoReader(out) as reader:
        written = list(reader)
    assert len(written) == report.frames
    assert redness(written[-1].rgb) > 1
    times = [float(frame.pts * frame.time_base) for frame in written]
    assert times == sorted(times)
    assert times[-1] - times[0] > 1, "the clock's times"


def test_only_the_newest_picture_is_kept(tmp_path: Path) -> None:
    source = write_clip(tmp_path / "clip.mp4", range(25))
    with LiveSource(str(source)) as live:
        first = live.take()
        while live.captured < 25:
            time.sleep(0.01)
        last = live.take() or first  # a busy machine may have let all of them come before the first take
        assert last is not None
        assert last.picture.time == pytest.approx(24 / 25)
        assert live.take() is None
        assert live.taken <= 2


def test_pictures_do_not_wait_and_a_late_reply_is_warped(bundle: Bundle) -> None:
    stylizer = Reddening()
    stylizer.may_answer.clear()
    frames = [np.roll(data.astronaut()[:240, :320], 3 * i, axis=1) for i in range(12)]
    with (
        Transfer(bundle.file("transfer")) as transfer,
        KeyRequests(
            stylizer, StyleMix.of(data.coffee()), reply="map", map_pixels=10**6, watch=Stopwatch()
        ) as requests,
    ):
        style = LiveStyle(requests, transfer)
        for i, frame in enumerate(frames[:4]):
            assert style(frame, i / 25) is frame, "as it is, until the first reply"
        stylizer.may_answer.set()
        while not stylizer.requests:
            time.sleep(0.01)
        time.sleep(0.1)
        shown = style(frames[4], 0.2)
        assert redness(shown) > 2 * redness(frames[4])
        stylizer.may_answer.clear()
        other = np.ascontiguousarray(data.coffee()[:240, :320])
        assert redness(style(other, 0.24)) > 2 * redness(other), "a new scene, in the mean style of the old"
        stylizer.may_answer.set()
    assert style.key_frames == 1


def test_an_interrupted_recording_is_whole(bikes: Path, style: Path, bundle: Bundle) -> None:
    out = style.with_name("out.mkv")
    report = stylize_live(
        str(bikes), style, str(out), stylizer=Reddening(), bundle=bundle, progress=stop_at(6)
    )
    assert report.frames == 6
    with VideoReader(out) as reader:
        assert len(list(reader)) == 6


def test_a_live_run_takes_the_codec(style: Path, bundle: Bundle) -> None:
    clip, out = write_clip(style.with_name("clip.mp4"), range(8)), style.with_name("out.mkv")
    stylize_live(
        str(clip), style, str(out), options=StylizeOptions(codec="hevc"), stylizer=Reddening(), bundle=bundle
    )
    with av.open(str(out)) as container:
        assert container.streams.video[0].codec_context.name == "hevc"
        assert list(container.decode(video=0))
    options = StylizeOptions(codec="h264_amf")
    with pytest.raises(EncoderError, match="h264_amf cannot be opened here"):
        stylize_live(str(clip), style, str(out), options=options, stylizer=Reddening(), bundle=bundle)


def test_an_invalid_source_or_output_is_refused(
    bikes: Path, style: Path, bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("DISPLAY", raising=False)
    for source, out, said in (
        ("nothing.mp4", "out.mp4", "no source nothing.mp4"),
        ("/dev/video99", "out.mp4", "no source /dev/video99"),
        (str(style.parent / "text.txt"), "out.mp4", "sends no video"),
        (str(bikes), "window", "no display"),
        (str(bikes), "out.gif", "not a supported live output"),
        (str(bikes), "ftp://there", "not a supported live output"),
        (str(bikes), str(style.parent / "missing" / "out.mp4"), "no folder"),
    ):
        (style.parent / "text.txt").write_text("no video")
        with pytest.raises(VideoError if "folder" not in said else Exception, match=said):
            stylize_live(source, style, out, stylizer=Reddening(), bundle=bundle)


def test_a_silent_network_is_an_error_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("device_runtime.live.source.OPEN_TIMEOUT_S", 0.5)
    with pytest.raises(VideoError, match="sends no video"):
        LiveSource(f"udp://127.0.0.1:{free_port()}")


@pytest.mark.parametrize("rotation", [90, 180, 270])
def test_a_turned_file_is_upright(style: Path, bundle: Bundle, tmp_path: Path, rotation: int) -> None:
    source = write_clip(tmp_path / "turned.mp4", rotation=rotation)
    out = tmp_path / "out.mkv"
    report = stylize_live(str(source), style, str(out), options=PLAIN, stylizer=Reddening(), bundle=bundle)
    with VideoReader(source) as reader:
        expected = [frame.rgb.astype(int) for frame in reader]
        assert (report.width, report.height) == (reader.info.width, reader.info.height)
    with av.open(str(out)) as container:
        shown = next(container.decode(video=0)).to_ndarray(format="rgb24")
    assert min(np.abs(shown - each).mean() for each in expected) < 4


def test_the_pixel_aspect_stays(style: Path, bundle: Bundle, tmp_path: Path) -> None:
    source = tmp_path / "wide.mp4"
    with av.open(str(source), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        stream.codec_context.sample_aspect_ratio = Fraction(64, 45)
        for index in range(3):
            frame = av.VideoFrame.from_ndarray(moving_square(index, 64, 48), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    stylize_live(
        str(source), style, str(tmp_path / "out.mkv"), options=PLAIN, stylizer=Reddening(), bundle=bundle
    )
    with av.open(str(tmp_path / "out.mkv")) as container:
        assert container.streams.video[0].sample_aspect_ratio == Fraction(64, 45)


def test_an_interlaced_file_is_deinterlaced(tmp_path: Path) -> None:
    with LiveSource(str(interlaced(tmp_path / "12:30.mp4", "tff"))) as live:
        captured = live.take()
        assert captured is not None
        assert not captured.picture.interlaced_frame
