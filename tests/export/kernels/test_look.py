"""The TFLite files of the lite stylizer against PyTorch."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path

import jsonschema
import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter

from export import exporter
from export.cache import Cache
from export.exporter import export_bundle
from export.kernels.lite_contract import LITE_FILES, LOOK, STYLE_ENCODER, lite_contract
from export.onnx_models.weight_swap import network_row
from export.parity.golden import check_golden
from export.parity.lite import check_look_tflite, check_style_encoder_tflite
from export.parity.reference import Reference
from export.runtimes.difference import ParityError
from export.tflite_file import pack, unpack
from export.verify import _check_file
from export.writers.draft import Draft
from export.writers.lite import write_lite
from mvstylizer import bundle as manifest
from mvstylizer.bundle import LITE_ROLES, MANIFEST_NAME, default_bundle, load_bundle, sealed, sha256_of
from tests.checkpoints import shipped_checkpoint
from training.checkpoint import load_checkpoint
from training.look.heads import GLOBAL_CODE, GlobalHeads
from training.options import StylizerDims
from training.stylizer import StylizerNetwork


@pytest.fixture(scope="module")
def stylizer() -> StylizerNetwork:
    return load_checkpoint(shipped_checkpoint("lite"))[0].eval()


@pytest.fixture(scope="module")
def files(stylizer: StylizerNetwork, tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, bytes]:
    folder = tmp_path_factory.mktemp("lite")
    write_lite(Draft(folder, Reference(stylizer), network_row(stylizer, "fp16"), print, Cache()))
    return {role: (folder / name).read_bytes() for role, name in LITE_FILES.items()}


def test_the_files_compute_what_pytorch_computes(
    stylizer: StylizerNetwork, files: Mapping[str, bytes]
) -> None:
    reference = Reference(stylizer)
    code = check_style_encoder_tflite(files[STYLE_ENCODER], reference)
    lut = check_look_tflite(files[LOOK], reference)
    assert code["max"] < 2e-3
    assert lut["max"] < 0.5
    assert (len(code["cases"]), len(lut["cases"])) == (5, 35)
    for row in (code, lut):
        assert row["lanes"].keys() == {"reference", "built-in operators", "XNNPACK", "CompiledModel"}


def test_other_weights_are_detected(stylizer: StylizerNetwork, files: Mapping[str, bytes]) -> None:
    other = StylizerNetwork(stylizer.dims).eval()
    other.heads.network.load_state_dict(stylizer.heads.network.state_dict())
    other.heads.network.basis.data *= 2
    with pytest.raises(ParityError, match=r"look\.tflite differs .* gray levels .* in case "):
        check_look_tflite(files[LOOK], Reference(other))
    other.heads.network.encoder.refine.bias.data += 0.1
    with pytest.raises(ParityError, match=r"style_encoder\.tflite differs"):
        check_style_encoder_tflite(files[STYLE_ENCODER], Reference(other))


@pytest.mark.parametrize("role", LITE_ROLES)
def test_tensors_are_those_of_the_contract(files: Mapping[str, bytes], role: str) -> None:
    interpreter = Interpreter(model_content=files[role])
    sides = interpreter.get_input_details(), interpreter.get_output_details()
    for specs, details in zip(lite_contract(role, GLOBAL_CODE), sides, strict=True):
        found = {d["name"]: (d["dtype"], tuple(d["shape"])) for d in details}
        assert found == {s.name: (np.dtype(s.dtype).type, s.shape) for s in specs}


def test_the_files_are_small(files: Mapping[str, bytes]) -> None:
    assert len(files[STYLE_ENCODER]) < 800_000
    assert len(files[LOOK]) < 1_300_000


def test_export_writes_the_files_and_describes_them(
    files: Mapping[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Skip what other tests cover: the ONNX files and the kernels.
    monkeypatch.setattr(exporter, "write_onnx", lambda *_: None)
    monkeypatch.setattr(exporter, "KERNELS", {})
    bundle = export_bundle(shipped_checkpoint("lite"), tmp_path / "bundle", sizes=[])
    body = json.loads((bundle.path / MANIFEST_NAME).read_text())
    jsonschema.validate(body, json.loads(Path(manifest.__file__).with_name("model.schema.json").read_text()))
    for role, name in LITE_FILES.items():
        spec = bundle.spec(role)
        assert spec.path == name
        assert bundle.file(role).read_bytes() == files[role]
        assert spec.latency["median_ms"] > 0
        assert f"`{spec.path}`" in bundle.file("card").read_text()
        assert check_golden(bundle, role)["lanes"].keys() >= {"reference", "XNNPACK"}
    assert bundle.spec(LOOK).cost["macs_size"] == "96x96"
    assert bundle.spec(LOOK).cost["parameters"] == pytest.approx(
        sum(value.numel() for value in GlobalHeads.load(shipped_checkpoint("lite")).parameters()), rel=0.2
    )


def test_a_network_with_a_local_part_has_no_tflite(tmp_path: Path) -> None:
    lines: list[str] = []
    write_lite(Draft(tmp_path, Reference(StylizerNetwork(StylizerDims())), {}, lines.append))
    assert lines == ["TFLite of the network: skipped, mvstylizer runs on edges only"]
    assert not list(tmp_path.iterdir())


def with_other_weights(content: bytes) -> bytes:
    """Return a valid file in which the largest constant is four times as large."""
    model = unpack(content)
    buffer = max(model.buffers, key=lambda each: 0 if each.data is None else len(each.data))
    halves = np.frombuffer(bytes(buffer.data), np.float16)
    buffer.data = np.frombuffer((halves * np.float16(4)).tobytes(), np.uint8)
    return pack(model)


@pytest.mark.parametrize("role", LITE_ROLES)
def test_a_network_that_computes_something_else_is_detected(tmp_path: Path, role: str) -> None:
    folder = Path(shutil.copytree(default_bundle("lite"), tmp_path / "bundle"))
    path = folder / LITE_FILES[role]
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
