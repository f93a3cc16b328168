from __future__ import annotations

import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pytest

from device_runtime.bench import regression
from device_runtime.bench.benchmark_model import BenchmarkModelError
from device_runtime.bench.npu_presets import PRESETS, preset_files
from device_runtime.bench.results import LatencyChange, ResultsError


def change(name: str, ratio: float, meaning: str) -> LatencyChange:
    return LatencyChange(name, 1000, 1000 * ratio, ratio, meaning)


def row(kernel: str, verdict: str = "valid", reasons: tuple[str, ...] = ()) -> dict[str, Any]:
    config = {"kernel": kernel, "resolution": [512, 256], "delegate": "gpu", "threads": 1}
    latency = {"mean": 1234.0} if verdict != "failed" else None
    return {
        "config": config,
        "verdict": verdict,
        "reasons": list(reasons),
        "latency_us": latency,
        "phone": {"model": "Pixel 2"},
    }


def test_only_comparable_rows_over_the_limit_are_slower() -> None:
    changes = [
        change("a", 1.04, "same"),
        change("b", 1.08, "slower"),
        change("c", 1.5, "not comparable"),
        change("d", 0.5, "faster"),
    ]
    assert [each.config for each in regression.slower(changes, 0.05)] == ["b"]
    assert [each.config for each in regression.slower(changes, 0.03)] == ["a", "b"]


def test_junit_has_a_case_for_each_row(tmp_path: Path) -> None:
    rows = [row("warp"), row("look", "failed", ("no GPU",)), row("transfer")]
    regression.write_junit(
        rows, [change("transfer 512x256 gpu 1", 1.2, "slower")], tmp_path / "out/junit.xml"
    )
    suite = ET.parse(tmp_path / "out/junit.xml").getroot()
    assert (suite.get("tests"), suite.get("failures")) == ("3", "2")
    cases = {case.get("name"): case for case in suite}
    assert cases["warp 512x256 gpu 1"].get("time") == "0.001234"
    failures = {
        name: found.get("message")
        for name, case in cases.items()
        if (found := case.find("failure")) is not None
    }
    assert failures == {
        "look 512x256 gpu 1": "failed: no GPU",
        "transfer 512x256 gpu 1": "20% slower than before",
    }
    (tmp_path / "file").write_text("")
    with pytest.raises(ResultsError, match="Cannot write"):
        regression.write_junit(rows, [], tmp_path / "file/junit.xml")


def test_presets_find_the_libraries_of_a_chip(tmp_path: Path) -> None:
    preset = PRESETS["snapdragon-8-gen-3"]
    assert preset.soc == "SM8650"
    assert "libQnnHtpV75Skel.so" in preset.libraries
    assert not any(each.tested for each in PRESETS.values())
    for number, library in enumerate(preset.libraries):
        folder = tmp_path / f"lib/{number}"
        folder.mkdir(parents=True)
        (folder / library).touch()
    files = preset_files("snapdragon-8-gen-3", tmp_path)
    assert tuple(path.name for path in files) == preset.libraries
    files[2].unlink()
    with pytest.raises(BenchmarkModelError, match=r"lacks libQnnHtpV75Stub\.so for Snapdragon 8 Gen 3"):
        preset_files("snapdragon-8-gen-3", tmp_path)
