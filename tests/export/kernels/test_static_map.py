"""The lite network through onnx2tf: the rewritten graph, the converter, the check of a bundle."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from ai_edge_litert.interpreter import Interpreter
from onnx import parser

import mvstylizer.errors
from export.errors import GraphError
from export.exporter import export_bundle
from export.kernels.static_map import through_onnx2tf, unambiguous
from export.parity.static_map import check_static_map
from export.runtimes.cpu import CPU_LANES, run_on_cpu
from export.runtimes.difference import ParityError
from export.tflite_file import pack, unpack
from export.verify import check_bundle
from mvstylizer.bundle import Bundle, default_bundle, file_spec, load_bundle, write_manifest
from mvstylizer.errors import MissingExtraError
from tests.checkpoints import shipped_checkpoint
from training.checkpoint import save_checkpoint
from training.options import StylizerDims
from training.stylizer import StylizerNetwork

# Like the network, a product of a matrix and the mean colors; with sums over rows and other sums.
COLORS = """
<ir_version: 10, opset_import: ["" : 18]>
colors (uint8[1,8,12,3] frame, float[1,3,3] matrix)
  => (float[1,3] shift, float[1,3] columns, float[1,96] level)
<int64[1] pixels = {2}, int64[1] rows = {2}, int64[1] channels = {1}, int64[3] flat = {1, 3, -1},
 float scale = {0.5}> {
  wide = Cast<to = 1>(frame)
  half = Mul(wide, scale)
  planes = Transpose<perm = [0, 3, 1, 2]>(half)
  content = Reshape(planes, flat)
  mean = ReduceMean<keepdims = 0>(content, pixels)
  row = Unsqueeze(mean, channels)
  product = Mul(matrix, row)
  shift = ReduceSum<keepdims = 0>(product, rows)
  columns = ReduceSum<keepdims = 0>(product, channels)
  level = ReduceSum<keepdims = 0>(content, channels)
}
"""


@pytest.fixture(scope="module")
def colors() -> onnx.ModelProto:
    model = parser.parse_model(COLORS)
    onnx.checker.check_model(model, full_check=True)
    return model


@pytest.fixture(scope="module")
def inputs() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(1)
    return {
        "frame": rng.integers(0, 256, (1, 8, 12, 3), np.uint8),
        "matrix": rng.normal(size=(1, 3, 3)).astype(np.float32),
    }


def run(model: onnx.ModelProto, inputs: dict[str, np.ndarray]) -> list[np.ndarray]:
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return list(session.run(None, inputs))


def test_only_a_sum_over_rows_becomes_a_product(
    colors: onnx.ModelProto, inputs: dict[str, np.ndarray]
) -> None:
    before = run(colors, inputs)
    copy = onnx.ModelProto()
    copy.CopyFrom(colors)
    rewritten = unambiguous(copy)
    operators = [node.op_type for node in rewritten.graph.node]
    assert (operators.count("ReduceSum"), operators.count("MatMul")) == (2, 1)
    for found, expected in zip(run(rewritten, inputs), before, strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-5)


@pytest.mark.slow
def test_onnx2tf_converts_an_unambiguous_graph(
    colors: onnx.ModelProto, inputs: dict[str, np.ndarray]
) -> None:
    shift = onnx.utils.Extractor(colors).extract_model(["frame", "matrix"], ["shift"])
    content = through_onnx2tf(unambiguous(shift), half=False)
    (output,) = Interpreter(model_content=content).get_output_details()
    assert output["name"] == "shift"
    for lane in CPU_LANES:
        (found,) = run_on_cpu(content, inputs, lane)
        np.testing.assert_allclose(found, run(colors, inputs)[0], rtol=1e-4)


@pytest.mark.slow
def test_an_error_of_onnx2tf_becomes_one_line() -> None:
    model = parser.parse_model("""
    <ir_version: 10, opset_import: ["" : 18]>
    odd (float[1,4] x) => (float[1,4] y) { y = Bernoulli(x) }
    """)
    with pytest.raises(GraphError, match=r"onnx2tf cannot convert the graph: \w+Error: ") as caught:
        through_onnx2tf(model, half=False)
    assert "\n" not in str(caught.value)


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    """The shipped lite bundle with a copy of its map, described as a static map for frames of 64×48."""
    shipped = load_bundle(default_bundle("lite"))
    folder = Path(shutil.copytree(shipped.path, tmp_path / "bundle"))
    shutil.copyfile(folder / "stylizer_map.tflite", folder / "stylizer_map_64x48.tflite")
    spec = shipped.spec("stylizer_map_tflite")
    frame, code = spec.inputs
    (affine_map,) = spec.outputs
    inputs = replace(frame, shape=(1, 48, 64, 3)), code
    outputs = (replace(affine_map, shape=(1, 6, 8, 12)),)
    added = file_spec(folder, "stylizer_map_64x48", "stylizer_map_64x48.tflite", inputs, outputs)
    made = replace(shipped, path=folder, files=(*shipped.files, added))
    write_manifest(made)
    return made


def test_a_static_map_is_compared_with_the_bundles_onnx_file(bundle: Bundle) -> None:
    row = check_static_map(bundle, "stylizer_map_64x48")
    assert row["max"] < 2e-3
    assert row["cases"].keys() == {"photo", "flat", "checkerboard", "dark", "black"}


def test_check_times_a_static_map_at_its_own_size(bundle: Bundle) -> None:
    row = next(row for row in check_bundle(bundle.path) if row.path == "stylizer_map_64x48.tflite")
    assert row.latency["size"] == "64x48"
    assert row.latency["median_ms"] > 0


def test_a_static_map_that_computes_something_else_is_detected(bundle: Bundle) -> None:
    path = bundle.path / "stylizer_map_64x48.tflite"
    model = unpack(path.read_bytes())
    largest = max((each for each in model.buffers if each.data is not None), key=lambda each: len(each.data))
    largest.data = (
        (1.2 * np.asarray(largest.data, np.uint8).view(np.float16)).astype(np.float16).view(np.uint8)
    )
    path.write_bytes(pack(model))
    spec = bundle.spec("stylizer_map_64x48")
    changed = file_spec(bundle.path, spec.role, spec.path, spec.inputs, spec.outputs)
    other = replace(bundle, files=(*bundle.files[:-1], changed))
    with pytest.raises(ParityError, match=r"stylizer_map_64x48\.tflite differs"):
        check_static_map(other, spec.role)


@pytest.mark.parametrize(("variant", "colorization"), [("mvstylizer", "moment"), ("lite", "attention")])
def test_a_network_without_a_tflite_form_is_refused(tmp_path: Path, variant: str, colorization: str) -> None:
    checkpoint = tmp_path / "any.safetensors"
    save_checkpoint(
        checkpoint, StylizerNetwork(StylizerDims(variant=variant, colorization=colorization)), 1, {}
    )
    with pytest.raises(GraphError, match="Omit --onnx2tf"):
        export_bundle(checkpoint, tmp_path / "out", static_sizes=[(64, 48)])
    assert not (tmp_path / "out").exists()


def test_a_missing_package_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checkpoint = tmp_path / "lite.safetensors"
    save_checkpoint(checkpoint, StylizerNetwork(StylizerDims(variant="lite")), 1, {})
    monkeypatch.setattr(mvstylizer.errors, "find_spec", lambda name: None if name == "sng4onnx" else True)
    with pytest.raises(MissingExtraError, match=r"needs sng4onnx.*mvstylizer\[onnx2tf\]"):
        export_bundle(checkpoint, tmp_path / "out", static_sizes=[(64, 48)])


@pytest.mark.long
def test_the_whole_network_through_onnx2tf(tmp_path: Path) -> None:
    checkpoint = shipped_checkpoint("lite")
    export_bundle(checkpoint, tmp_path / "out", sizes=[], static_sizes=[(160, 90)])
    spec = load_bundle(tmp_path / "out").spec("stylizer_map_160x90")
    assert spec.parity["max"] < 1
    rows = {row.path: row for row in check_bundle(tmp_path / "out")}
    assert rows[spec.path].parity["max"] < 2e-2
