from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import onnx
import pytest

from export.errors import GraphError
from export.exporter import export_bundle
from export.onnx_models.contract import ROLES as ONNX_ROLES
from export.onnx_models.weight_swap import BaseBundle, Weights, refill
from export.parity.kernels import sized_kernels
from export.parity.reference import Reference
from export.runtimes import gpu
from export.runtimes.difference import ParityError
from export.writers import onnx as onnx_writer
from export.writers.draft import Draft
from export.writers.kernels import write_kernel
from mvstylizer import bundle as manifest
from mvstylizer.bundle import MANIFEST_NAME, ROLES, BundleError, default_bundle, load_bundle, sha256_of
from tests.checkpoints import shipped_checkpoint
from training.checkpoint import CheckpointError, save_checkpoint
from training.options import StylizerDims
from training.stylizer import StylizerNetwork

SIZED = {"warp_accel_64x48", "transfer_accel_64x48"}  # warp_gpu_64x48 too where there is a Vulkan
EXTRA = {"stylizer_map", "golden", "card"}
BIAS = "heads.network.encoder.refine.bias"


@pytest.mark.slow
def test_an_export_replaces_an_older_bundle(exported: Path, export_lines: list[str]) -> None:
    loaded = load_bundle(exported)
    assert loaded.network["ridge"] == 0.25
    assert (loaded.version, loaded.source["step"]) == (4, 12)
    roles = {spec.role for spec in loaded.files}
    assert roles - {"warp_gpu_64x48"} == {*ROLES, *SIZED, *EXTRA}
    assert {path.name for path in exported.iterdir()} == {MANIFEST_NAME, *(s.path for s in loaded.files)}
    assert [p.name for p in exported.parent.iterdir()] == ["bundle"]
    assert {line.split(":")[0] for line in export_lines} >= {f"{role}.onnx" for role in ROLES[:2]}


def test_a_gpu_kernel_that_cannot_be_checked_is_skipped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines: list[str] = []
    monkeypatch.setattr(gpu, "why_missing", lambda: "no Vulkan driver")
    draft = Draft(tmp_path, Reference(StylizerNetwork()), {}, lines.append)
    kernel = next(k for k in sized_kernels([(64, 48)], lambda *_: (8, 6, 4)) if not k.cpu)
    write_kernel(draft, kernel, None)
    assert lines == ["warp_gpu_64x48.tflite: skipped, it cannot be checked here (no Vulkan driver)"]
    assert not draft.files
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_the_manifest_matches_its_schema(exported: Path) -> None:
    schema = json.loads((Path(manifest.__file__).with_name("model.schema.json")).read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    body = json.loads((exported / MANIFEST_NAME).read_text())
    jsonschema.validate(body, schema)
    for change in ({"version": 0}, {"files": []}, {"sha256": "abc"}, {"more": 1}):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate({**body, **change}, schema)


@pytest.mark.slow
def test_the_card_agrees_with_the_manifest(exported: Path, checkpoint: Path) -> None:
    bundle = load_bundle(exported)
    card = bundle.file("card").read_text()
    assert sha256_of(checkpoint) in card
    for spec in bundle.files:
        assert spec.role == "card" or spec.role == "golden" or f"`{spec.path}`" in card
    stylizer = bundle.spec("stylizer")
    assert f"{stylizer.cost['parameters']:,}" in card
    assert stylizer.cost["macs"] > 1e9
    assert stylizer.latency["median_ms"] > 0


@pytest.mark.slow
def test_the_onnx_files_identify_their_checkpoint(exported: Path, checkpoint: Path) -> None:
    for role in ONNX_ROLES:
        stored = onnx.load(exported / f"{role}.onnx").metadata_props
        properties = {entry.key: entry.value for entry in stored}
        assert properties["mvstylizer.source.sha256"] == sha256_of(checkpoint)
        assert properties["mvstylizer.precision"] == "fp16"


def test_a_wrong_file_fails_the_export_and_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def wrong(source: bytes, path: Path, before: Weights, after: Weights, *rest: Any) -> set[str]:
        return refill(source, path, before, {**after, BIAS: after[BIAS] + np.float32(0.5)}, *rest)

    bundle = load_bundle(default_bundle("lite"))
    base_bundle = BaseBundle(bundle, shipped_checkpoint(bundle.path.name))
    monkeypatch.setattr(onnx_writer, "refill", wrong)
    with pytest.raises(ParityError, match=r"style_encoder\.onnx differs from its reference"):
        export_bundle(base_bundle.checkpoint, tmp_path / "bundle", base_bundle=base_bundle)
    assert not list(tmp_path.iterdir())


def test_a_stylizer_with_the_plain_finish_is_refused(tmp_path: Path) -> None:
    checkpoint = tmp_path / "plain.safetensors"
    save_checkpoint(checkpoint, StylizerNetwork(StylizerDims(finish="plain")), 1, {})
    with pytest.raises(GraphError, match="finish plain cannot be exported"):
        export_bundle(checkpoint, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_foreign_folder_is_not_touched(checkpoint: Path, tmp_path: Path) -> None:
    (tmp_path / "holiday.jpg").write_bytes(b"mine")
    with pytest.raises(BundleError, match="not empty and not a bundle"):
        export_bundle(checkpoint, tmp_path)
    with pytest.raises(BundleError, match="is a file"):
        export_bundle(checkpoint, tmp_path / "holiday.jpg")
    assert [p.name for p in tmp_path.iterdir()] == ["holiday.jpg"]


def test_a_missing_checkpoint_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="does not exist"):
        export_bundle(tmp_path / "none.safetensors", tmp_path / "out")
    assert not list(tmp_path.iterdir())


def test_a_folder_that_cannot_be_created_is_refused(checkpoint: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(BundleError, match="cannot be written"):
        export_bundle(checkpoint, tmp_path / "file" / "bundle")


def test_a_truncated_checkpoint_is_refused(checkpoint: Path, tmp_path: Path) -> None:
    part = tmp_path / "part.safetensors"
    part.write_bytes(checkpoint.read_bytes()[:100_000])
    with pytest.raises(CheckpointError, match="is damaged"):
        export_bundle(part, tmp_path / "out")
    assert [p.name for p in tmp_path.iterdir()] == ["part.safetensors"]
