"""Two bundles side by side."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import onnx
import pytest
from typer.testing import CliRunner

from export.diff import diff_bundles
from mvstylizer.bundle import MANIFEST_NAME, default_bundle, sealed, sha256_of
from mvstylizer_cli.main import app

LITE, MAIN = default_bundle("lite"), default_bundle()


@pytest.fixture
def changed(tmp_path: Path) -> Path:
    """The lite bundle as version 7, with an operator more in one file and without another file."""
    folder = Path(shutil.copytree(LITE, tmp_path / "changed"))
    path = folder / "stylizer_map.onnx"
    model = onnx.load(path)
    last = model.graph.node[-1]
    last.output[0] = "before"
    model.graph.node.append(onnx.helper.make_node("Mod", ["before", "before"], ["grid"]))
    onnx.save(model, path)
    body = json.loads((folder / MANIFEST_NAME).read_text())
    body["version"], body["network"]["precision"] = 7, "fp32"
    body["files"] = [row for row in body["files"] if row["role"] != "warp_gpu_512x256"]
    for row in body["files"]:
        if row["role"] == "stylizer_map":
            row.update(sha256=sha256_of(path), bytes=path.stat().st_size)
            row["latency"]["median_ms"] = 999.0
    (folder / MANIFEST_NAME).write_bytes(sealed(body))
    return folder


def test_what_differs_is_listed(changed: Path) -> None:
    found = diff_bundles(LITE, changed)
    assert found.bundle == {"version": (1, 7), "network.precision": ("fp16", "fp32")}
    rows = {row.role: row for row in found.files}
    assert not rows["stylizer_map"].same
    assert rows["stylizer_map"].operators == {"Mod": (None, 1)}
    assert rows["stylizer_map"].latency_ms[1] == 999.0
    assert rows["warp"].same
    assert rows["warp"].bytes[0] == rows["warp"].bytes[1] == (LITE / "warp.tflite").stat().st_size
    assert rows["warp_gpu_512x256"].bytes[1] is None
    lines = list(found.lines())
    assert "version: 1 → 7" in lines
    assert "warp_gpu_512x256: only in the first bundle" in lines
    assert any(line.startswith("stylizer_map:") and "Mod 0 → 1" in line for line in lines)


def test_the_shipped_models_differ_in_cost_and_style_code() -> None:
    found = diff_bundles(LITE, MAIN)
    rows = {row.role: row for row in found.files}
    assert found.bundle["name"] == ("lite", "mvstylizer")
    assert rows["stylizer"].macs[0] < rows["stylizer"].macs[1]
    assert rows["style_encoder"].tensors["style_code"][0] == "float32 [1, 257]"
    assert rows["look_tflite"].bytes[1] is None
    assert rows["key_frame"].same


def test_the_command_prints_one_object(changed: Path) -> None:
    done = CliRunner().invoke(app, ["export", "--diff", str(LITE), str(changed), "--json"])
    assert done.exit_code == 0
    assert json.loads(done.stdout)["bundle"]["version"] == [1, 7]
    both = ["export", "--diff", str(LITE), str(changed), "--check", str(LITE)]
    assert CliRunner().invoke(app, both).exit_code == 2
