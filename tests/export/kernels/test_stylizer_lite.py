from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path

import jsonschema
import numpy as np
import pytest
import torch
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter

from export import exporter
from export.cost import stylizer_macs
from export.errors import GraphError
from export.exporter import export_bundle
from export.kernels.convert import operators
from export.kernels.lite_contract import LITE_STEMS, lite_contract
from export.kernels.stylizer_lite import build_style_encoder, build_stylizer_map
from export.parity import lite
from export.parity.golden import check_golden
from export.parity.lite import check_style_encoder_tflite, check_stylizer_map_tflite
from export.parity.reference import Reference
from export.runtimes.difference import ParityError
from export.tflite_file import pack, unpack
from export.verify import _check_file
from export.writers import lite as lite_writer
from export.writers.draft import Draft
from export.writers.lite import why_no_tflite, write_lite
from mvstylizer import bundle as manifest
from mvstylizer.bundle import LITE_ROLES, MANIFEST_NAME, default_bundle, load_bundle, sealed, sha256_of
from training.checkpoint import save_checkpoint
from training.options import StylizerDims
from training.stylizer import StylizerNetwork

SMALL = ((48, 64), (40, 104))


@pytest.fixture(scope="module")
def stylizer() -> StylizerNetwork:
    """A lite stylizer in which every weight has an effect."""
    torch.manual_seed(3)
    made = StylizerNetwork(StylizerDims(variant="lite")).eval().requires_grad_(False)
    for weight in (made.decoder.rgb.weight, made.grading.correct.weight, made.grading.round_bias):
        torch.nn.init.normal_(weight, std=0.02)
    return made


@pytest.fixture(scope="module")
def files(stylizer: StylizerNetwork) -> Mapping[str, bytes]:
    weights = {name: tensor.numpy() for name, tensor in stylizer.state_dict().items()}
    builders = (build_style_encoder, build_stylizer_map)
    return {role: build(weights, stylizer.dims) for role, build in zip(LITE_ROLES, builders, strict=True)}


@pytest.fixture
def small_sizes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lite, "STYLE_SIZES", SMALL)
    monkeypatch.setattr(lite, "FRAME_SIZES", SMALL)


@pytest.mark.usefixtures("small_sizes")
def test_the_files_compute_what_pytorch_computes(
    stylizer: StylizerNetwork, files: Mapping[str, bytes]
) -> None:
    reference = Reference(stylizer)
    code = check_style_encoder_tflite(files["style_encoder_tflite"], reference)
    picture = check_stylizer_map_tflite(files["stylizer_map_tflite"], reference)
    assert code["max"] < 2e-3
    assert picture["max"] < 1
    for row in (code, picture):
        assert row["lanes"].keys() == {"reference", "built-in operators", "XNNPACK"}
        assert len(row["cases"]) == 2 * 5


@pytest.mark.usefixtures("small_sizes")
def test_other_weights_are_detected(stylizer: StylizerNetwork, files: Mapping[str, bytes]) -> None:
    torch.manual_seed(4)
    other = StylizerNetwork(stylizer.dims).eval()
    other.load_state_dict({**stylizer.state_dict(), "decoder.rgb.bias": torch.full((3,), 0.02)})
    with pytest.raises(ParityError, match=r"stylizer_map\.tflite differs .* in case photo 64x48"):
        check_stylizer_map_tflite(files["stylizer_map_tflite"], Reference(other))
    other.load_state_dict({**stylizer.state_dict(), "encoder.level1.bias": torch.full((16,), 0.1)})
    with pytest.raises(ParityError, match=r"style_encoder\.tflite differs"):
        check_style_encoder_tflite(files["style_encoder_tflite"], Reference(other))


def test_a_file_that_xnnpack_would_reject_is_refused(stylizer: StylizerNetwork) -> None:
    warp = (default_bundle("lite") / "warp.tflite").read_bytes()
    with pytest.raises(GraphError, match="is not suitable for XNNPACK: operator at CAST"):
        check_stylizer_map_tflite(warp, Reference(stylizer))


@pytest.mark.parametrize("role", LITE_ROLES)
def test_tensors_are_those_of_the_contract(files: Mapping[str, bytes], role: str) -> None:
    interpreter = Interpreter(model_content=files[role])
    sides = interpreter.get_input_details(), interpreter.get_output_details()
    for specs, details in zip(lite_contract(role, 263), sides, strict=True):
        found = {d["name"]: (d["dtype"], tuple(d["shape_signature"])) for d in details}
        assert found == {s.name: (np.dtype(s.dtype).type, s.shape) for s in specs}


@pytest.mark.parametrize("role", LITE_ROLES)
def test_files_are_small_and_xnnpack_runs_all_of_them_after_a_resize(
    files: Mapping[str, bytes], role: str
) -> None:
    assert not operators(files[role]).keys() & {"SHAPE", "CAST", "WHILE", "RESIZE_BILINEAR"}
    assert len(files[role]) < 750_000
    interpreter = Interpreter(model_content=files[role])
    picture = interpreter.get_input_details()[0]
    for height, width in ((16, 24), (64, 40)):
        interpreter.resize_tensor_input(picture["index"], (1, height, width, 3))
        interpreter.allocate_tensors()
        (delegated,) = (op for op in interpreter._get_ops_details() if op["op_name"] == "DELEGATE")
        (output,) = interpreter.get_output_details()
        assert output["index"] in delegated["outputs"]
        assert picture["index"] in delegated["inputs"]


@pytest.mark.usefixtures("small_sizes")
def test_export_writes_the_files_and_describes_them(
    stylizer: StylizerNetwork, files: Mapping[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Skip what other tests cover: the ONNX files, the kernels, and building these files again.
    monkeypatch.setattr(exporter, "write_onnx", lambda *_: None)
    monkeypatch.setattr(exporter, "KERNELS", {})
    for name, role in zip(("build_style_encoder", "build_stylizer_map"), LITE_ROLES, strict=True):
        monkeypatch.setattr(lite_writer, name, lambda *_, of=role, **__: files[of])
    save_checkpoint(tmp_path / "lite.safetensors", stylizer, 5, {})
    bundle = export_bundle(tmp_path / "lite.safetensors", tmp_path / "bundle", sizes=[])
    body = json.loads((bundle.path / MANIFEST_NAME).read_text())
    jsonschema.validate(body, json.loads(Path(manifest.__file__).with_name("model.schema.json").read_text()))
    for role, stem in LITE_STEMS.items():
        spec = bundle.spec(role)
        assert spec.path == f"{stem}.tflite"
        assert spec.parity["max"] < 1
        assert spec.latency["median_ms"] > 0
        assert spec.delegates["XNNPACK"] == []
        assert f"`{spec.path}`" in bundle.file("card").read_text()
        assert check_golden(bundle, role)["lanes"].keys() >= {"reference", "XNNPACK"}
    # The 1×1 convolution of the smoothing is merged away; selecting channels is added.
    expected, found = stylizer_macs(stylizer), bundle.spec("stylizer_map_tflite").cost
    assert found["macs"] == pytest.approx(expected["macs"], rel=0.05)
    assert found["macs_size"] == expected["macs_size"]
    assert found["parameters"] == pytest.approx(284_855, rel=0.01)


def test_a_colorization_without_a_tflite_form_is_skipped(tmp_path: Path) -> None:
    lines: list[str] = []
    stylizer = StylizerNetwork(StylizerDims(variant="lite", colorization="attention"))
    write_lite(Draft(tmp_path, Reference(stylizer), {}, lines.append))
    assert lines == ["TFLite of the network: skipped, colorization attention has no TFLite form"]
    assert why_no_tflite(StylizerDims(variant="lite", colorization="residual")) is None
    assert not list(tmp_path.iterdir())


def with_other_weights(content: bytes) -> bytes:
    """Return a valid file with other weights in its first convolution."""
    model = unpack(content)
    graph = model.subgraphs[0]
    codes = [code.builtinCode for code in model.operatorCodes]
    first = next(op for op in graph.operators if codes[op.opcodeIndex] == schema.BuiltinOperator.CONV_2D)
    makers = {output: op for op in graph.operators for output in op.outputs}
    tensor = first.inputs[1]
    tensor = makers[tensor].inputs[0] if tensor in makers else tensor
    data = model.buffers[graph.tensors[tensor].buffer].data
    halves = np.frombuffer(bytes(data), np.float16)
    model.buffers[graph.tensors[tensor].buffer].data = np.frombuffer(
        (halves * np.float16(1.5)).tobytes(), np.uint8
    )
    return pack(model)


@pytest.mark.parametrize("role", LITE_ROLES)
def test_a_network_that_computes_something_else_is_detected(tmp_path: Path, role: str) -> None:
    folder = Path(shutil.copytree(default_bundle("lite"), tmp_path / "bundle"))
    path = folder / f"{LITE_STEMS[role]}.tflite"
    path.write_bytes(with_other_weights(path.read_bytes()))
    body = json.loads((folder / MANIFEST_NAME).read_text())
    for row in body["files"]:
        if row["path"] == path.name:
            row.update(sha256=sha256_of(path), bytes=path.stat().st_size)
    (folder / MANIFEST_NAME).write_bytes(sealed(body))
    with pytest.raises(ParityError, match=f"of {path.name} differs"):
        check_golden(load_bundle(folder), role)


@pytest.mark.parametrize("role", LITE_ROLES)
def test_the_shipped_files_pass_their_check(role: str) -> None:
    bundle = load_bundle(default_bundle("lite"))
    row = _check_file(bundle, bundle.spec(role))
    assert row.parity["max"] < 2e-3
    assert row.latency["size"] == row.recorded["size"]
