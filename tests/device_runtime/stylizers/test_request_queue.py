from __future__ import annotations

import threading

import numpy as np
import pytest
from numpy.typing import NDArray

from device_runtime.report import Stopwatch
from device_runtime.stylizers.request_queue import KeyReplyError, KeyRequests
from device_runtime.stylizers.resize import shrunk
from device_runtime.stylizers.style_mix import StyleMix
from mvstylizer.errors import MVStylizerError
from mvstylizer.stylizer import Reply, StylizedFrame

STYLE = StyleMix.of(np.full((40, 60, 3), 77, np.uint8))
KEY = np.zeros((90, 160, 3), np.uint8)


class Recorder:
    """A stylizer that records its requests and returns given replies."""

    def __init__(self, answer: StylizedFrame | Exception | None = None) -> None:
        self.answer = answer
        self.styles: list[tuple[int, ...]] = []
        self.frames: list[tuple[int, ...]] = []
        self.go_on = threading.Event()
        self.go_on.set()

    def encode_style(self, style: NDArray[np.uint8]) -> NDArray[np.float32]:
        self.styles.append(style.shape)
        return np.array([style.mean()], np.float32)

    def stylize(
        self,
        frame: NDArray[np.uint8],
        style_code: NDArray[np.float32],
        *,
        r: float = 1.0,
        reply: Reply = "image",
    ) -> StylizedFrame:
        self.go_on.wait()
        assert (r, style_code.tolist()) == (1.0, [77.0])
        self.frames.append(frame.shape)
        if isinstance(self.answer, Exception):
            raise self.answer
        if self.answer is not None:
            return self.answer
        grid = np.zeros((9, 16, 4, 3, 4), np.float32)
        return StylizedFrame(frame, None) if reply == "image" else StylizedFrame(None, grid)

    def close(self) -> None:
        self.go_on.set()


def requests(stylizer: Recorder, reply: Reply = "image") -> KeyRequests:
    return KeyRequests(stylizer, STYLE, reply=reply, map_pixels=80 * 45, watch=Stopwatch())


def test_an_image_takes_the_whole_frame_and_a_map_a_thumbnail() -> None:
    stylizer = Recorder()
    with requests(stylizer) as images, requests(stylizer, "map") as maps:
        assert images.submit(KEY).result().image is not None
        assert maps.submit(KEY).result().grid is not None
    assert stylizer.frames == [(90, 160, 3), (45, 80, 3)]


def test_replies_come_in_order() -> None:
    stylizer = Recorder()
    keys = [np.full((4, 4, 3), i, np.uint8) for i in range(5)]
    with requests(stylizer) as sending:
        replies = [sending.submit(key) for key in keys]
    assert [reply.result().image is key for reply, key in zip(replies, keys, strict=True)] == [True] * 5


@pytest.mark.parametrize(
    ("reply", "answer"),
    [
        ("image", StylizedFrame(np.zeros((45, 80, 3), np.uint8), None)),
        ("image", StylizedFrame(None, np.zeros((2, 2, 1, 3, 4), np.float32))),
        ("map", StylizedFrame(KEY, None)),
    ],
)
def test_a_reply_that_does_not_fit_is_refused(reply: Reply, answer: StylizedFrame) -> None:
    with requests(Recorder(answer), reply) as sending, pytest.raises(KeyReplyError, match="does not fit"):
        sending.submit(KEY).result()


def test_errors_of_the_stylizer_reach_the_caller() -> None:
    refused = MVStylizerError("refused")
    with requests(Recorder(refused)) as sending, pytest.raises(MVStylizerError, match="refused"):
        sending.submit(KEY).result()


def test_leaving_in_an_error_does_not_wait_for_a_reply() -> None:
    stylizer = Recorder()
    stylizer.go_on.clear()

    def stop_while_a_request_is_under_way() -> None:
        with requests(stylizer) as sending:
            sending.submit(KEY)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stop_while_a_request_is_under_way()
    assert stylizer.frames == [], "still under way"
    stylizer.close()


def test_a_large_style_photo_is_shrunk_before_it_is_sent() -> None:
    stylizer = Recorder()
    large = np.zeros((3000, 4000, 3), np.uint8)
    with KeyRequests(stylizer, StyleMix.of(large), reply="image", map_pixels=1, watch=Stopwatch()):
        pass
    ((height, width, _),) = stylizer.styles
    assert height * width == pytest.approx(512 * 512, rel=0.01)
    assert width / height == pytest.approx(4 / 3, rel=0.01)


def test_shrinking_keeps_the_shape_and_never_enlarges() -> None:
    assert shrunk(KEY, 90 * 160) is KEY
    assert shrunk(KEY, 10**9) is KEY
    assert shrunk(KEY, 36 * 64).shape == (36, 64, 3)
    assert shrunk(np.zeros((1, 5000, 3), np.uint8), 100).shape[0] == 1
