"""Model files from strangers, with a manifest that matches: each failure is one line, and nothing crashes."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from export.verify import check_bundle
from mvstylizer.bundle import Bundle, BundleError, default_bundle, file_spec, load_bundle, write_manifest
from mvstylizer.errors import MVStylizerError

WHOLE = load_bundle(default_bundle("lite"))
ROLES = ("warp", "look_tflite", "key_frame", "stylizer_map")
TIME_S = 60.0


def small_bundle(folder: Path, role: str, content: bytes | None = None) -> Bundle:
    """Write a bundle of one model of the lite bundle and its golden vectors."""
    folder.mkdir()
    spec = WHOLE.spec(role)
    shutil.copy(WHOLE.file("golden"), folder / "golden.npz")
    (folder / spec.path).write_bytes(WHOLE.file(role).read_bytes() if content is None else content)
    files = (
        file_spec(folder, role, spec.path, spec.inputs, spec.outputs, delegates=spec.delegates),
        file_spec(folder, "golden", "golden.npz"),
    )
    bundle = Bundle(folder, "small", 1, files, network=WHOLE.network)
    write_manifest(bundle)
    return bundle


def outcome(folder: Path, role: str, content: bytes | None = None) -> str:
    """Check a bundle; return the line of its failure, or nothing."""
    bundle = small_bundle(folder, role, content)
    try:
        rows = check_bundle(bundle.path, silence_s=TIME_S)
    except MVStylizerError as err:
        line = str(err)
    else:
        assert [row.path for row in rows] == [spec.path for spec in bundle.files]
        return ""
    assert line.isprintable()
    assert len(line) < 600
    assert WHOLE.spec(role).path in line
    return line


def endless_loop() -> bytes:
    """A style encoder that loops 2^62 times."""
    node = helper.make_node
    body = helper.make_graph(
        [node("Identity", ["on"], ["on_after"]), node("Add", ["sum", "sum"], ["sum_after"])],
        "body",
        [
            helper.make_tensor_value_info("number", TensorProto.INT64, []),
            helper.make_tensor_value_info("on", TensorProto.BOOL, []),
            helper.make_tensor_value_info("sum", TensorProto.FLOAT, [1, 257]),
        ],
        [
            helper.make_tensor_value_info("on_after", TensorProto.BOOL, []),
            helper.make_tensor_value_info("sum_after", TensorProto.FLOAT, [1, 257]),
        ],
    )
    graph = helper.make_graph(
        [node("Loop", ["count", "yes", "zeros"], ["style_code"], body=body)],
        "loop",
        [helper.make_tensor_value_info("style", TensorProto.UINT8, [1, None, None, 3])],
        [helper.make_tensor_value_info("style_code", TensorProto.FLOAT, [1, 257])],
        [
            helper.make_tensor("count", TensorProto.INT64, [], [2**62]),
            helper.make_tensor("yes", TensorProto.BOOL, [], [True]),
            helper.make_tensor("zeros", TensorProto.FLOAT, [1, 257], np.zeros(257)),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    onnx.checker.check_model(model)
    return model.SerializeToString()


def test_an_intact_file_passes_and_a_truncated_one_is_named(tmp_path: Path) -> None:
    assert outcome(tmp_path / "good", "warp") == ""
    content = WHOLE.file("warp").read_bytes()
    assert "warp.tflite" in outcome(tmp_path / "half", "warp", content[: len(content) // 2])


@pytest.mark.long
def test_an_endless_graph_is_given_up(tmp_path: Path) -> None:
    bundle = small_bundle(tmp_path / "loop", "style_encoder", endless_loop())
    with pytest.raises(BundleError, match=r"style_encoder\.onnx did not finish within 20 s"):
        check_bundle(bundle.path, silence_s=20)


@pytest.mark.long
@pytest.mark.parametrize("role", ROLES)
def test_damaged_files_are_one_line_each(tmp_path: Path, role: str) -> None:
    content = WHOLE.file(role).read_bytes()
    rng = np.random.default_rng(0)
    failures = 0
    for number in range(12):
        damaged = bytearray(content)
        for at in rng.integers(0, min(len(content), 4096 if number % 2 else len(content)), 1 + number % 3):
            damaged[at] ^= int(rng.integers(1, 256))
        failures += outcome(tmp_path / str(number), role, bytes(damaged)) != ""
    assert failures > 0
