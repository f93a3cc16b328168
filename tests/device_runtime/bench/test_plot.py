from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import matplotlib
import pytest

from device_runtime.bench.plot import save_plot
from device_runtime.bench.results import ResultsError


def row(kernel: str, delegate: str, mean: float | None, verdict: str = "valid") -> dict[str, Any]:
    figures = None if mean is None else {"mean": mean, "p50": mean * 0.98, "p95": None}
    return {
        "phone": {"model": "Google Pixel 2", "soc": "msm8998", "android": "11"},
        "config": {"kernel": kernel, "resolution": [512, 256], "delegate": delegate, "threads": 1},
        "latency_us": figures,
        "verdict": verdict,
    }


def test_a_panel_for_each_kernel(tmp_path: Path) -> None:
    rows = [row("warp", "cpu", 900), row("warp", "gpu", 500, "fallback"), row("warp", "npu", None, "wrong")]
    save_plot(rows, tmp_path / "new" / "one.png")
    save_plot([*rows, row("transfer", "cpu", 700)], tmp_path / "two.png")
    one, two = cv2.imread(str(tmp_path / "new" / "one.png")), cv2.imread(str(tmp_path / "two.png"))
    assert two.shape[0] == 2 * one.shape[0]
    assert one.min() < 50
    assert one.max() == 255


def test_labels_of_the_bars(tmp_path: Path) -> None:
    # Text as text, to be read back.

    with matplotlib.rc_context({"svg.fonttype": "none"}):
        save_plot([row("warp", "cpu", 900), row("warp", "gpu", 500, "fallback")], tmp_path / "p.svg")
    drawn = (tmp_path / "p.svg").read_text()
    for text in ("Google Pixel 2 (msm8998), Android 11", "warp", "512x256", "cpu 1", "gpu 1", "fallback"):
        assert f">{text}</text>" in drawn
    assert ">valid</text>" not in drawn


def test_rows_without_figures_make_an_empty_picture(tmp_path: Path) -> None:
    save_plot([row("warp", "cpu", None, "failed")], tmp_path / "p.png")
    assert (tmp_path / "p.png").stat().st_size


def test_a_picture_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "folder.png").mkdir()
    for path in (tmp_path / "p.xyz", tmp_path / "no suffix", tmp_path / "folder.png"):
        with pytest.raises(ResultsError, match="Cannot draw"):
            save_plot([row("warp", "cpu", 900)], path)
