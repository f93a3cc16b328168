from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import onnx
import pytest

import export.exporter as bundle_module
from export.exporter import export_bundle
from export.onnx_models.contract import ROLES as ONNX_ROLES
from export.onnx_models.weight_swap import BaseBundle, Weights, refill
from export.parity.kernels import sized_kernels
from export.runtimes import gpu
from export.runtimes.difference import ParityError
from mvstylizer import bundle as manifest
from mvstylizer.bundle import MANIFEST_NAME, ROLES, BundleError, default_bundle, load_bundle, sha256_of
from tests.checkpoints import shipped_checkpoint
from training.checkpoint import CheckpointError

SIZED = {"warp_accel_64x48", "transfer_accel_64x48"}  # warp_gpu_64x48 too where there is a Vulkan
EXTRA = {"stylizer_map", "golden", "card"}
BIAS = "decoder.rgb.bias"


@pytest.mark.slow
def test_checkpoint_to_bundle_over_an_older_one(exported: Path, export_lines: list[str]) -> None:
    loaded = load_bundle(exported)
    assert loaded.network["ridge"] == 0.25
    assert (loaded.version, loaded.source["step"]) == (4, 12)
    roles = {spec.role for spec in loaded.files}
    assert roles - {"warp_gpu_64x48"} == {*ROLES, *SIZED, *EXTRA}
    assert {path.name for path in exported.iterdir()} == {MANIFEST_NAME, *(s.path for s in loaded.files)}
    assert [p.name for p in exported.parent.iterdir()] == ["bundle"]
    assert {line.split(":")[0] for line in export_lines} >= {f"{role}.onnx" for role in ROLES[:2]}


def test_the_gpus_kernel_is_left_out_where_nothing_can_check_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines: list[str] = []
    monkeypatch.setattr(gpu, "why_missing", lambda: "no Vulkan here")
    writer = bundle_module._Writer(tmp_path, {}, lines.append, None)
    writer.kernel(next(k for k in sized_kernels([(64, 48)], lambda *_: (8, 6)) if not k.cpu))
    assert lines == ["warp_gpu_64x48.tflite: left out, nothing here can check it (no Vulkan here)"]
    assert not writer.files
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_the_manifest_follows_its_schema(exported: Path) -> None:
    schema = json.loads((Path(manifest.__file__).with_name("model.schema.json")).read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    body = json.loads((exported / MANIFEST_NAME).read_text())
    jsonschema.validate(body, schema)
    for change in ({"version": 0}, {"files": []}, {"sha256": "abc"}, {"more": 1}):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate({**body, **change}, schema)


@pytest.mark.slow
def test_the_card_says_what_the_manifest_says(exported: Path, checkpoint: Path) -> None:
    bundle = load_bundle(exported)
    card = bundle.file("card").read_text()
    assert sha256_of(checkpoint) in card
    for spec in bundle.files:
        assert spec.role == "card" or spec.role == "golden" or f"`{spec.path}`" in card
    stylizer = bundle.spec("stylizer")
    assert f"{stylizer.cost['parameters']:,}" in card
    assert stylizer.cost["macs"] > 10e9
    assert stylizer.latency["median_ms"] > 0


@pytest.mark.slow
def test_the_onnx_files_name_their_checkpoint(exported: Path, checkpoint: Path) -> None:
    for role in ONNX_ROLES:
        stored = onnx.load(exported / f"{role}.onnx").metadata_props
        properties = {entry.key: entry.value for entry in stored}
        assert properties["mvstylizer.source.sha256"] == sha256_of(checkpoint)
        assert properties["mvstylizer.precision"] == "fp16"


def test_a_file_that_differs_fails_the_export_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def wrong(source: Path, path: Path, before: Weights, after: Weights, *rest: Any) -> set[str]:
        return refill(source, path, before, {**after, BIAS: after[BIAS] + np.float32(0.1)}, *rest)

    bundle = load_bundle(default_bundle("lite"))
    base_bundle = BaseBundle(bundle, shipped_checkpoint(bundle.path.name))
    monkeypatch.setattr(bundle_module, "refill", wrong)
    with pytest.raises(ParityError, match=r"stylizer\.onnx differs from its reference"):
        export_bundle(base_bundle.checkpoint, tmp_path / "bundle", base_bundle=base_bundle)
    assert not list(tmp_path.iterdir())


def test_a_foreign_folder_is_not_touched(checkpoint: Path, tmp_path: Path) -> None:
    (tmp_path / "holiday.jpg").write_bytes(b"mine")
    with pytest.raises(BundleError, match="holds no bundle"):
        export_bundle(checkpoint, tmp_path)
    with pytest.raises(BundleError, match="is a file"):
        export_bundle(checkpoint, tmp_path / "holiday.jpg")
    assert [p.name for p in tmp_path.iterdir()] == ["holiday.jpg"]


def test_no_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="does not exist"):
        export_bundle(tmp_path / "none.safetensors", tmp_path / "out")
    assert not list(tmp_path.iterdir())


def test_a_folder_that_cannot_be_made(checkpoint: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(BundleError, match="cannot be written"):
        export_bundle(checkpoint, tmp_path / "file" / "bundle")


def test_a_truncated_checkpoint(checkpoint: Path, tmp_path: Path) -> None:
    part = tmp_path / "part.safetensors"
    part.write_bytes(checkpoint.read_bytes()[:100_000])
    with pytest.raises(CheckpointError, match="is damaged"):
        export_bundle(part, tmp_path / "out")
    assert [p.name for p in tmp_path.iterdir()] == ["part.safetensors"]
