from __future__ import annotations

import itertools
import os
import re
import signal
import subprocess
import sys
import threading
import time
import tracemalloc
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from numpy.typing import NDArray
from skimage import data, io

from device_runtime.media.atomic_file import OutputError
from device_runtime.media.color import ColorConverter
from device_runtime.media.photo import PhotoError, read_photo, write_photo
from device_runtime.media.reader import VideoReader
from device_runtime.media.video_info import VideoError
from device_runtime.motion.flow import DisFlow, Follow, Luma, Motion
from device_runtime.options import FlowInit, Interpolation, StylizeOptions
from device_runtime.pipeline import stylize_photo, stylize_video
from device_runtime.request_check import check_request
from device_runtime.stylizers.onnx_stylizer import OnnxStylizer
from mvstylizer.bundle import Bundle, default_bundle, load_bundle
from mvstylizer.errors import MVStylizerError
from mvstylizer.stylizer import Reply, StylizedFrame
from tests.device_runtime.clips import remux, write_clip

ROOT = Path(__file__).parents[2]
BOTH: list[Interpolation] = ["warp", "transfer"]


class ColorStylizer:
    """Fake edge: applies a color transform to every key frame and records its requests.

    `colors` are 3×4 matrices [A | b] in the unit range, used in turn.
    """

    def __init__(self, *colors: NDArray[np.float32], fails_at: int | None = None) -> None:
        self.colors = colors
        self.fails_at = fails_at
        self.requests: list[tuple[tuple[int, ...], Reply]] = []

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
        number = len(self.requests)
        self.requests.append((frame.shape, reply))
        if number == self.fails_at:
            raise MVStylizerError("The edge went away", "Start it again")
        color = self.colors[number % len(self.colors)]
        if reply == "map":
            return StylizedFrame(None, np.broadcast_to(color, (9, 16, 4, 3, 4)).astype(np.float32))
        return StylizedFrame(colored(frame, color), None)

    def close(self) -> None:
        pass


def colored(frame: NDArray[np.uint8], color: NDArray[np.float32]) -> NDArray[np.uint8]:
    unit = np.concatenate([frame / 255, np.ones((*frame.shape[:2], 1))], -1)
    return np.clip(np.rint(unit @ color.T * 255), 0, 255).astype(np.uint8)


WARM = np.array([[0.9, 0.1, 0, 0.05], [0.1, 0.7, 0, 0.02], [0, 0.1, 0.5, 0]], np.float32)
RED, GREEN, BLUE = (np.array([[0, 0, 0, v] for v in c], np.float32) for c in np.eye(3) * 0.6 + 0.2)


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    return load_bundle(default_bundle())


@pytest.fixture
def style(tmp_path: Path) -> Path:
    path = tmp_path / "inputs" / "style.png"
    path.parent.mkdir()
    write_photo(path, data.coffee())
    return path


@pytest.fixture
def out(tmp_path: Path) -> Iterator[Path]:
    """A path in an empty folder, where no other file may be left."""
    folder = tmp_path / "out"
    folder.mkdir()
    yield folder / "out.mp4"
    assert set(os.listdir(folder)) <= {"out.mp4", "out.png"}


@pytest.fixture
def street(bikes: Path, tmp_path: Path) -> Path:
    """The first 76 frames of bikes.mp4, two scenes: the second one begins at 30."""
    return remux(bikes, tmp_path / "street.mp4", until=2.96)


def times(path: Path) -> list[Fraction]:
    with VideoReader(path) as reader:
        return [frame.pts * frame.time_base for frame in reader]


def pictures(path: Path) -> list[NDArray[np.uint8]]:
    with VideoReader(path) as reader:
        return [frame.rgb for frame in reader]


@pytest.mark.parametrize("interpolation", BOTH)
def test_real_footage_through_the_real_models(
    street: Path, style: Path, out: Path, bundle: Bundle, interpolation: Interpolation
) -> None:
    seen: list[tuple[int, int | None]] = []
    with OnnxStylizer(bundle) as stylizer:
        report = stylize_video(
            street,
            style,
            out,
            options=StylizeOptions(policy="every:20", interpolation=interpolation),
            stylizer=stylizer,
            bundle=bundle,
            progress=lambda done, total: seen.append((done, total)),
        )
    assert times(out) == times(street)
    assert (report.frames, report.key_frames, report.intermediate_frames) == (76, 5, 71)
    assert (report.width, report.height, report.out) == (640, 272, str(out))
    assert report.interpolation == interpolation
    assert report.warnings == []
    assert seen == [(i, 76) for i in range(1, 77)]
    with av.open(str(out)) as container:
        stream = container.streams.video[0]
        assert (stream.width, stream.height, stream.average_rate, stream.frames) == (640, 272, 25, 76)
    before, after, wanted = (
        np.mean(p, (0, 1, 2)) for p in (pictures(street), pictures(out), data.coffee()[None])
    )
    assert np.linalg.norm(after - wanted) < np.linalg.norm(before - wanted)


@pytest.mark.parametrize("interpolation", BOTH)
def test_intermediate_frames_equal_stylized_ones(
    bunny: Path, style: Path, out: Path, bundle: Bundle, interpolation: Interpolation
) -> None:
    """With one color transform for all key frames, the exact result of every frame is known."""
    source = remux(bunny, out.parent.parent / "calm.mp4", until=1.0)
    stylizer = ColorStylizer(WARM)
    stylize_video(
        source,
        style,
        out,
        options=StylizeOptions(policy="every:10", interpolation=interpolation, crf=5),
        stylizer=stylizer,
        bundle=bundle,
    )
    allowed = {"warp": 4.0, "transfer": 1.6}[interpolation]
    for before, after in zip(pictures(source), pictures(out), strict=True):
        assert np.abs(after.astype(int) - colored(before, WARM)).mean() < allowed


@pytest.mark.parametrize("interpolation", BOTH)
def test_nothing_crosses_a_cut_and_colors_pass_smoothly_between_keys(
    street: Path, style: Path, out: Path, bundle: Bundle, interpolation: Interpolation
) -> None:
    stylizer = ColorStylizer(RED, GREEN, BLUE)  # key frames 0, 15, 30 (the cut), 45 (RED again), 60, 75
    report = stylize_video(
        street,
        style,
        out,
        options=StylizeOptions(policy="every:15", interpolation=interpolation, temporal_smoothing_s=0),
        stylizer=stylizer,
        bundle=bundle,
    )
    assert report.key_frames == 6
    assert report.key_frame_indices == [0, 15, 30, 45, 60, 75]
    red, green, blue = np.array([np.mean(p, (0, 1)) for p in pictures(out)]).T
    assert (np.diff(red[:16]) < 0).all()
    assert (np.diff(green[:16]) > 0).all()
    assert np.ptp(green[15:30]) < 3, "constant after the last key frame of the scene"
    assert max(blue[:30]) < 60
    assert max(green[30:46]) < 60
    assert (np.diff(blue[30:46]) < 0).all()


def test_a_map_costs_a_thumbnail_and_an_image_the_whole_frame(
    bunny: Path, style: Path, out: Path, bundle: Bundle
) -> None:
    source = remux(bunny, out.parent.parent / "short.mp4", until=0.2)
    for interpolation, reply, sent in (
        ("transfer", None, ((288, 512, 3), "map")),
        ("warp", None, ((720, 1280, 3), "image")),
        ("warp", "map", ((288, 512, 3), "map")),
    ):
        stylizer = ColorStylizer(WARM)
        report = stylize_video(
            source,
            style,
            out,
            options=StylizeOptions(interpolation=interpolation, edge_output=reply),
            stylizer=stylizer,
            bundle=bundle,
        )
        assert stylizer.requests == [sent]
        assert report.edge_output == sent[1]


def test_sound_variable_times_and_orientation_survive(style: Path, out: Path, bundle: Bundle) -> None:
    source = write_clip(
        out.parent.parent / "phone.mp4",
        [0, 33, 50, 100, 111, 180, 181, 260],
        time_base=Fraction(1, 1000),
        rotation=90,
        sound="aac",
    )
    report = stylize_video(
        source,
        style,
        out,
        options=StylizeOptions(policy="every:3"),
        stylizer=ColorStylizer(WARM),
        bundle=bundle,
    )
    assert (report.width, report.height) == (48, 64)
    assert times(out) == times(source)
    sounds = []
    for path in (source, out):
        with av.open(str(path)) as container:
            sounds.append([bytes(packet) for packet in container.demux(audio=0) if packet.size])
    assert sounds[0] == sounds[1]


def test_strength_zero_gives_the_video_back(street: Path, style: Path, out: Path, bundle: Bundle) -> None:
    stylize_video(
        street,
        style,
        out,
        options=StylizeOptions(strength=0.0, crf=5),
        stylizer=ColorStylizer(RED),
        bundle=bundle,
    )
    for before, after in zip(pictures(street), pictures(out), strict=True):
        assert np.abs(after.astype(int) - before).mean() < 1.6


def test_one_sided_uses_the_previous_key_frame_only(
    street: Path, style: Path, out: Path, bundle: Bundle
) -> None:
    stylizer = ColorStylizer(RED, GREEN)
    stylize_video(
        street,
        style,
        out,
        options=StylizeOptions(policy="every:15", interpolation="warp", two_sided=False),
        stylizer=stylizer,
        bundle=bundle,
    )
    red = np.array([np.mean(p[..., 0]) for p in pictures(out)])
    assert np.ptp(red[:15]) < 3
    assert red[14] - red[15] > 100


def test_motion_search_from_codec_vectors_warps_at_least_as_well(
    bunny: Path, style: Path, out: Path, bundle: Bundle
) -> None:
    source = remux(bunny, style.with_name("bunny.mp4"), until=1.2)
    filmed, errors = pictures(source), []
    inits: tuple[FlowInit, ...] = ("previous", "codec")
    for flow_init in inits:
        identity = ColorStylizer(np.eye(3, 4, dtype=np.float32))
        stylize_video(
            source,
            style,
            out,
            options=StylizeOptions(
                policy="every:15", crf=5, interpolation="warp", two_sided=False, flow_init=flow_init
            ),
            stylizer=identity,
            bundle=bundle,
        )
        shown = pictures(out)
        errors.append(np.mean([np.abs(a.astype(int) - b).mean() for a, b in zip(shown, filmed, strict=True)]))
    assert errors[0] != errors[1], "the vectors had no effect"
    assert errors[1] < 1.02 * errors[0]


def test_any_flow_estimator_is_accepted(street: Path, style: Path, out: Path, bundle: Bundle) -> None:
    class Nothing(DisFlow):
        """Reports no motion."""

        asked = 0

        def follow(self, key: Luma) -> Follow:
            def motion(frame: Luma, step: NDArray[np.float32] | None = None) -> Motion:
                self.asked += 1
                return Motion(np.zeros((*frame.shape, 2), np.float32), np.ones(frame.shape, np.float32))

            return motion

    flow = Nothing()
    stylize_video(
        street,
        style,
        out,
        options=StylizeOptions(policy="every:15", interpolation="warp", two_sided=False),
        stylizer=ColorStylizer(WARM),
        bundle=bundle,
        flow=flow,
    )
    assert flow.asked == 76 - 6
    shown = pictures(out)
    assert np.abs(shown[14].astype(int) - shown[0]).mean() < 2, "the key frame, unmoved"


def test_no_frame_is_converted_to_rgb_where_maps_are_moved(
    bikes: Path, style: Path, out: Path, bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any) -> NDArray[np.uint8]:
        raise AssertionError("a whole frame was converted")

    source = remux(bikes, out.parent.parent / "part.mp4", until=1.0)
    with monkeypatch.context() as patched:
        patched.setattr(ColorConverter, "to_rgb", refuse)
        patched.setattr(ColorConverter, "from_rgb", refuse)
        options = StylizeOptions(policy="every:10")
        stylize_video(source, style, out, options=options, stylizer=ColorStylizer(WARM), bundle=bundle)
    before, after = (np.stack(pictures(each)).mean((0, 1, 2)) for each in (source, out))
    assert after[0] / after[2] > before[0] / before[2]


def test_memory_does_not_grow_with_the_length(bikes: Path, style: Path, out: Path, bundle: Bundle) -> None:
    def dawdle(done: int, _: int | None) -> None:
        # Slow at first, so that every queue is full at every frame and the peak is not a matter of chance.
        time.sleep(0.1 if done < 40 else 0.01)

    def peak(until: float) -> int:
        source = remux(bikes, out.parent.parent / "part.mp4", until=until)
        tracemalloc.start()
        stylize_video(
            source,
            style,
            out,
            options=StylizeOptions(policy="every:10"),
            stylizer=ColorStylizer(WARM),
            bundle=bundle,
            progress=dawdle,
        )
        found = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return found

    # Threads briefly hold a frame or two of thirty, at random: take the maximum of several runs.
    assert peak(9.9) < max(peak(2.96) for _ in range(3)) * 1.05


def test_a_truncated_video_is_stylized_to_its_end(
    street: Path, style: Path, out: Path, bundle: Bundle
) -> None:
    broken = street.with_name("broken.mp4")
    broken.write_bytes(street.read_bytes()[: street.stat().st_size // 2])
    report = stylize_video(broken, style, out, stylizer=ColorStylizer(WARM), bundle=bundle)
    assert 10 < report.frames < 70
    assert len(times(out)) == report.frames
    assert any("is truncated" in warning for warning in report.warnings)


def test_a_stopped_run_leaves_no_files(street: Path, style: Path, out: Path, bundle: Bundle) -> None:
    with pytest.raises(MVStylizerError, match="went away"):
        stylize_video(
            street,
            style,
            out,
            options=StylizeOptions(policy="every:10"),
            stylizer=ColorStylizer(WARM, fails_at=2),
            bundle=bundle,
        )

    def interrupt(done: int, total: int | None) -> None:
        if done == 12:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stylize_video(
            street,
            style,
            out,
            options=StylizeOptions(policy="every:10"),
            stylizer=ColorStylizer(WARM),
            bundle=bundle,
            progress=interrupt,
        )
    assert os.listdir(out.parent) == []
    assert "stage" not in {thread.name for thread in threading.enumerate()}


def test_ctrl_c_does_not_wait_for_an_edge_that_hangs(
    street: Path, style: Path, out: Path, bundle: Bundle
) -> None:
    hanging = threading.Event()

    class HangingStylizer(ColorStylizer):
        def stylize(self, *args: Any, **options: Any) -> StylizedFrame:
            if self.requests:
                os.kill(os.getpid(), signal.SIGINT)
                hanging.wait(60)
            return super().stylize(*args, **options)

    began = threading.active_count()
    with pytest.raises(KeyboardInterrupt):
        stylize_video(
            street,
            style,
            out,
            options=StylizeOptions(policy="every:10"),
            stylizer=HangingStylizer(WARM),
            bundle=bundle,
        )
    assert threading.active_count() == began + 1, "the request is still under way, and nothing else"
    hanging.set()
    assert os.listdir(out.parent) == []


def test_an_error_while_pictures_are_made_ends_every_stage(
    street: Path, style: Path, out: Path, bundle: Bundle
) -> None:
    nothing = np.full((3, 4), np.nan, np.float32)
    with pytest.raises(MVStylizerError, match="finite"):
        stylize_video(
            street,
            style,
            out,
            options=StylizeOptions(policy="every:10"),
            stylizer=ColorStylizer(WARM, nothing),
            bundle=bundle,
        )
    assert os.listdir(out.parent) == []
    assert "stage" not in {thread.name for thread in threading.enumerate()}


PEAK = """
import resource, sys
from pathlib import Path
import numpy as np
from device_runtime.options import StylizeOptions
from device_runtime.pipeline import stylize_video
from mvstylizer.bundle import default_bundle, load_bundle
from mvstylizer.stylizer import StylizedFrame

class Still:
    def encode_style(self, style):
        return np.zeros(4, np.float32)
    def stylize(self, frame, style_code, *, r=1.0, reply="map"):
        return StylizedFrame(None, np.broadcast_to(np.eye(3, 4, dtype=np.float32), (9, 16, 4, 3, 4)).copy())
    def close(self):
        pass

source, style, out = map(Path, sys.argv[1:])
bundle = load_bundle(default_bundle())
options = StylizeOptions("every:10")
report = stylize_video(source, style, out, options=options, stylizer=Still(), bundle=bundle)
print(report.frames, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def test_the_process_takes_the_same_memory_for_four_times_the_frames(
    bikes: Path, style: Path, out: Path
) -> None:
    peaks = []
    with VideoReader(bikes) as reader:
        scene = [frame.rgb for frame in itertools.islice(reader, 20)]
    for count in (100, 400):
        source = write_clip(
            style.with_name(f"{count}.mp4"),
            range(count),
            size=(640, 272),
            picture=lambda i, *_: scene[i % 20],
        )
        command = [sys.executable, "-c", PEAK, str(source), str(style), str(out)]
        done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
        frames, kilobytes = map(int, done.stdout.split())
        assert frames == count
        peaks.append(kilobytes)
    assert peaks[1] < peaks[0] * 1.05


def test_bad_input_is_refused_before_the_edge_is_asked(
    street: Path, style: Path, out: Path, bundle: Bundle
) -> None:
    stylizer = ColorStylizer(WARM)
    text = street.with_name("text.txt")
    text.write_text("neither video nor photo")
    for source, style_photo, target, error in (
        (street.with_name("missing.mp4"), style, out, VideoError),
        (text, style, out, VideoError),
        (street, street, out, PhotoError),
        (street, street.with_name("missing.jpg"), out, PhotoError),
        (street, style, out.parent / "missing" / "out.mp4", OutputError),
        (street, style, street, OutputError),
        (street, style, style, OutputError),
        (street, style, out.with_suffix(".txt"), VideoError),
    ):
        with pytest.raises(error) as caught:
            stylize_video(source, style_photo, target, stylizer=stylizer, bundle=bundle)
        assert "\n" not in str(caught.value)
        with pytest.raises(error, match=re.escape(str(caught.value))):
            check_request(source, style_photo, target, bundle=bundle)
    assert stylizer.requests == []


def test_a_valid_request_passes_the_check_and_writes_nothing(
    street: Path, style: Path, out: Path, bundle: Bundle
) -> None:
    check_request(street, style, out, options=StylizeOptions(policy="content"), bundle=bundle)
    write_photo(street.with_name("photo.png"), data.astronaut())
    check_request(street.with_name("photo.png"), style, out.with_suffix(".png"), bundle=bundle)
    assert os.listdir(out.parent) == []


def test_a_photo_becomes_a_photo(style: Path, out: Path) -> None:
    source, result = out.parent.parent / "photo.png", out.with_suffix(".png")
    io.imsave(source, data.astronaut())
    report = stylize_photo(
        source, style, result, options=StylizeOptions(strength=0.5), stylizer=ColorStylizer(WARM)
    )
    expected = 0.5 * data.astronaut() + 0.5 * colored(data.astronaut(), WARM)
    assert np.abs(read_photo(result) - expected).max() <= 1
    assert (report.frames, report.key_frames, report.width, report.height) == (1, 1, 512, 512)


def test_bad_photos_are_refused(style: Path, out: Path, bikes: Path) -> None:
    for source, target, error in (
        (bikes, out.with_suffix(".png"), PhotoError),
        (style, style, OutputError),
        (style, out, PhotoError),
    ):
        with pytest.raises(error):
            stylize_photo(source, style, target, stylizer=ColorStylizer(WARM))
