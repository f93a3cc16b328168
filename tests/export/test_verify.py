from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from export.runtimes.difference import ParityError
from export.verify import check_bundle
from mvstylizer.bundle import MANIFEST_NAME, BundleError, load_bundle, sealed, sha256_of

pytestmark = pytest.mark.slow


@pytest.fixture
def copy(exported: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(exported, tmp_path / "bundle"))


def reseal(folder: Path, name: str) -> None:
    """Update the manifest after a file was changed, as a forger would."""
    manifest = folder / MANIFEST_NAME
    body: dict[str, Any] = json.loads(manifest.read_text())
    for row in body["files"]:
        if row["path"] == name:
            row.update(sha256=sha256_of(folder / name), bytes=(folder / name).stat().st_size)
    manifest.write_bytes(sealed(body))


def test_an_intact_bundle_passes(exported: Path) -> None:
    lines: list[str] = []
    rows = {row.path: row for row in check_bundle(exported, report=lines.append)}
    assert rows.keys() == {spec.path for spec in load_bundle(exported).files}
    assert rows["stylizer.onnx"].parity["max"] <= 1
    lanes = {"reference", "built-in operators", "XNNPACK", "CompiledModel"}
    assert rows["warp.tflite"].parity["lanes"].keys() == lanes
    assert all(any(f"{lane} " in line for lane in lanes) for line in lines if line.startswith("warp.tflite"))
    assert rows["warp_accel_64x48.tflite"].latency["median_ms"] > 0
    assert rows["warp_accel_64x48.tflite"].recorded == load_bundle(exported).spec("warp_accel_64x48").latency
    assert any("ms here" in line and "ms at export" in line for line in lines)


def test_a_flipped_byte_in_any_file_names_that_file(copy: Path) -> None:
    for path in sorted(copy.iterdir()):
        content = path.read_bytes()
        changed = bytearray(content)
        changed[len(changed) // 2] ^= 0x40
        path.write_bytes(changed)
        with pytest.raises(BundleError, match=path.name):
            check_bundle(copy)
        path.write_bytes(content)
    load_bundle(copy)


def test_a_network_that_computes_something_else_is_detected(copy: Path) -> None:
    model = onnx.load(copy / "stylizer_map.onnx")
    kernels = [initializer for initializer in model.graph.initializer if list(initializer.dims[2:]) == [5, 5]]
    weights = max(kernels, key=lambda initializer: len(initializer.raw_data))  # meta-smoothing's W_s
    values = numpy_helper.to_array(weights)
    weights.CopyFrom(numpy_helper.from_array((values * 1.5).astype(values.dtype), weights.name))
    onnx.save(model, copy / "stylizer_map.onnx")
    reseal(copy, "stylizer_map.onnx")
    with pytest.raises(ParityError, match=r"grid of stylizer_map\.onnx differs"):
        check_bundle(copy)


def test_a_bundle_without_golden_vectors_is_refused(copy: Path) -> None:
    np.savez(copy / "golden.npz", nothing=np.zeros(1))
    reseal(copy, "golden.npz")
    with pytest.raises(BundleError, match="has no vectors for style_encoder"):
        check_bundle(copy)


def test_the_command_prints_one_object(copy: Path) -> None:
    command = [sys.executable, "-m", "mvstylizer_cli", "export", "--check", str(copy), "--json"]
    content = bytearray((copy / "transfer.tflite").read_bytes())
    content[100] ^= 1
    (copy / "transfer.tflite").write_bytes(content)
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 1
    assert "transfer.tflite" in json.loads(done.stdout)["error"]
