from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import suppress

import numpy as np
import psutil
import pytest
from numpy.typing import NDArray
from skimage import data

from device_runtime.interpolation.grid import GridError
from device_runtime.stylizers.fallback import GuardedStylizer
from device_runtime.stylizers.style_mix import StyleMix
from device_runtime.stylizers.tflite_stylizer import TFLiteStylizer
from edge_triton.client.client import EdgeClient, EdgeRefusedError, EdgeUnavailableError
from edge_triton.triton.server import TritonServer
from mvstylizer.bundle import default_bundle, load_bundle
from mvstylizer.stylizer import Reply, StylizedFrame

STYLE = StyleMix.of(np.full((40, 60, 3), 77, np.uint8))
FRAME = np.zeros((9, 16, 3), np.uint8)
AWAY = EdgeUnavailableError("No edge answers")


class Painter:
    """A stylizer that paints frames gray, or raises a given error."""

    def __init__(self, gray: int) -> None:
        self.gray = gray
        self.error: Exception | None = None
        self.asked = 0
        self.codes = 0
        self.closed = False

    def encode_style(self, style: NDArray[np.uint8]) -> NDArray[np.float32]:
        self._answer()
        self.codes += 1
        return np.array([style.mean(), self.codes], np.float32)

    def stylize(
        self,
        frame: NDArray[np.uint8],
        style_code: NDArray[np.float32],
        *,
        r: float = 1.0,
        reply: Reply = "image",
    ) -> StylizedFrame:
        self._answer()
        assert style_code.tolist() == [77, self.codes], "the newest code"
        return StylizedFrame(np.full_like(frame, self.gray), None)

    def close(self) -> None:
        self.closed = True

    def _answer(self) -> None:
        self.asked += 1
        if self.error is not None:
            raise self.error


def await_true(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def made_by(guarded: GuardedStylizer) -> tuple[int, bool]:
    answer = guarded.stylize(FRAME, "image")
    assert answer.key.image is not None
    return int(answer.key.image[0, 0, 0]), answer.fell_back


def test_a_reliable_edge_needs_no_fallback() -> None:
    def load() -> Painter:
        raise AssertionError("loaded without need")

    guarded = GuardedStylizer(Painter(1), STYLE, load)
    assert [made_by(guarded) for _ in range(3)] == [(1, False)] * 3
    guarded.close()


def test_the_fallback_works_until_the_edge_returns_with_a_new_style_code() -> None:
    edge, spare = Painter(1), Painter(2)
    guarded = GuardedStylizer(edge, STYLE, lambda: spare, probe_pause_s=0.01)
    assert made_by(guarded) == (1, False)
    edge.error = AWAY
    assert [made_by(guarded) for _ in range(4)] == [(2, True)] * 4, "the frame in hand included"
    assert spare.codes == 1
    edge.error = None
    await_true(lambda: made_by(guarded) == (1, False))
    assert edge.codes == 2
    edge.error = AWAY
    assert made_by(guarded) == (2, True)
    guarded.close()
    assert spare.closed
    assert not edge.closed


def test_while_the_edge_is_unavailable_frames_do_not_wait() -> None:
    edge, spare = Painter(1), Painter(2)
    guarded = GuardedStylizer(edge, STYLE, lambda: spare, probe_pause_s=60)
    edge.error = AWAY
    asked = edge.asked
    assert [made_by(guarded) for _ in range(5)] == [(2, True)] * 5
    assert edge.asked == asked + 1
    guarded.close()
    await_true(lambda: "edge-probe" not in [thread.name for thread in threading.enumerate()])


def test_an_unavailable_edge_at_the_start_or_without_fallback_is_an_error() -> None:
    edge = Painter(1)
    edge.error = AWAY
    with pytest.raises(EdgeUnavailableError, match="No edge answers"):
        GuardedStylizer(edge, STYLE, lambda: Painter(2))
    edge.error = None
    alone = GuardedStylizer(edge, STYLE)
    edge.error = AWAY
    with pytest.raises(EdgeUnavailableError, match="No edge answers"):
        alone.stylize(FRAME, "image")


class Mapper(Painter):
    """A stylizer whose maps have one value everywhere."""

    def stylize(
        self,
        frame: NDArray[np.uint8],
        style_code: NDArray[np.float32],
        *,
        r: float = 1.0,
        reply: Reply = "image",
    ) -> StylizedFrame:
        self._answer()
        return StylizedFrame(None, np.full((9, 16, 4, 3, 4), self.gray, np.float32))


def test_a_map_that_is_none_counts_as_no_answer() -> None:
    edge, spare = Mapper(99), Mapper(2)
    guarded = GuardedStylizer(edge, STYLE, lambda: spare, probe_pause_s=60)
    answer = guarded.stylize(FRAME, "map")
    assert answer.fell_back
    assert answer.key.grid is not None
    guarded.close()
    with pytest.raises(GridError, match="values up to 99"):
        GuardedStylizer(edge, STYLE).stylize(FRAME, "map")


def test_an_edge_that_refuses_is_not_replaced() -> None:
    edge = Painter(1)
    guarded = GuardedStylizer(edge, STYLE, lambda: Painter(2))
    edge.error = EdgeRefusedError("The token is not known")
    with pytest.raises(EdgeRefusedError, match="token"):
        guarded.stylize(FRAME, "image")


def test_a_failing_fallback_is_reported() -> None:
    edge, spare = Painter(1), Painter(2)
    guarded = GuardedStylizer(edge, STYLE, lambda: spare)
    edge.error, spare.error = AWAY, RuntimeError("no memory")
    with pytest.raises(RuntimeError, match="no memory"):
        guarded.stylize(FRAME, "image")
    guarded.close()


@pytest.mark.server
def test_a_real_server_killed_and_started_again() -> None:
    bundle = load_bundle(default_bundle("lite"))
    frame = np.ascontiguousarray(data.astronaut()[:256])
    mine = set(psutil.Process().children(recursive=True))
    with TritonServer(bundle.path) as server, EdgeClient(server.address, patience_s=0.5) as client:
        port = int(server.address.rpartition(":")[2])
        guarded = GuardedStylizer(
            client, StyleMix.of(data.coffee()), lambda: TFLiteStylizer(bundle), probe_pause_s=0.1
        )
        from_edge = guarded.stylize(frame, "map")
        for process in set(psutil.Process().children(recursive=True)) - mine:
            with suppress(psutil.NoSuchProcess):  # a child may end while we look
                if process.name() == "tritonserver":
                    process.kill()
        from_device = guarded.stylize(frame, "map")
        server.stop()
        with TritonServer(bundle.path, port=port):
            await_true(lambda: not guarded.stylize(frame, "map").fell_back)
        guarded.close()
    assert (from_edge.fell_back, from_device.fell_back) == (False, True)
    assert from_edge.key.grid is not None
    assert from_device.key.grid is not None
    np.testing.assert_allclose(from_device.key.grid, from_edge.key.grid, atol=5e-3)
