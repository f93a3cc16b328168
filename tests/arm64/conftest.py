"""The pack of `mvstylizer device pack`, run under emulation. Its runtime is made once per user."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.arm64.qemu import Arm64, downloaded_pack
from tests.device_runtime.clips import write_clip


@pytest.fixture(scope="session")
def arm64(tmp_path_factory: pytest.TempPathFactory) -> Arm64:
    folder = tmp_path_factory.mktemp("arm64")
    downloaded_pack(folder / "pack")
    return Arm64(folder / "pack", folder / "system")


@pytest.fixture(scope="session")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_clip(tmp_path_factory.mktemp("clip") / "clip.mp4", range(8), size=(128, 64))
