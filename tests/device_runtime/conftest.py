"""Fixtures for tests of the phone side."""

from __future__ import annotations

from pathlib import Path

import pytest

from export.parity.kernels import KERNELS


@pytest.fixture(scope="session")
def kernels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with ``warp.tflite``, ``transfer.tflite`` and ``key_frame.tflite``, built from the source."""
    folder = tmp_path_factory.mktemp("kernels")
    for role, kernel in KERNELS.items():
        (folder / f"{role}.tflite").write_bytes(kernel.build())
    return folder
