from __future__ import annotations

from pathlib import Path

import pytest

from export.parity.kernels import sized_kernels
from export.runtimes import compiled_model, gpu
from export.runtimes.cpu import LaneError


def test_a_missing_vulkan_driver_is_reported(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("VK_ICD_FILENAMES", raising=False)
    monkeypatch.setattr(gpu, "CHROMIUM", tmp_path)
    assert "install chromium-common" in str(gpu.why_missing())


def test_a_broken_driver_becomes_one_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The worker fails in its own process."""
    monkeypatch.setenv("VK_ICD_FILENAMES", str(tmp_path / "none.json"))
    assert gpu.why_missing() is None
    kernel = next(sized_kernels([(16, 16)], lambda *_: (2, 2, 2)))
    with pytest.raises(LaneError, match="The GPU delegate failed"):
        gpu.run_on_gpu(kernel.build(), list(kernel.cases())[:1])


def test_a_kernel_is_checked_on_every_available_lane() -> None:
    kernel = next(k for k in sized_kernels([(32, 24)], lambda *_: (4, 3, 4)) if k.role.startswith("transfer"))
    lanes = kernel.check(kernel.build())["lanes"]
    expected = {"reference", "built-in operators", "XNNPACK", compiled_model.LANE}
    assert lanes.keys() == (expected if gpu.why_missing() else expected | {gpu.LANE})
