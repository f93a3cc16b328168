from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from mvstylizer.bundle import (
    MANIFEST_NAME,
    ROLES,
    Bundle,
    BundleError,
    TensorSpec,
    default_bundle,
    file_spec,
    load_bundle,
    sealed,
    write_manifest,
)


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    (tmp_path / "warp.tflite").write_bytes(b"kernel")
    tensors = (TensorSpec("frame", "uint8", (1, -1, -1, 3), "NHWC RGB", "0..255"),)
    spec = file_spec(
        tmp_path,
        "warp",
        "warp.tflite",
        tensors,
        tensors,
        parity={"max": 0.5},
        cost={"parameters": 0},
        latency={"median_ms": 1.5},
    )
    written = Bundle(
        tmp_path, "mvstylizer", 3, (spec,), {"step": 7}, {"map_cell": 8}, {"onnx": "1.2"}, {"cores": 2}
    )
    write_manifest(written)
    return written


def edit(bundle: Bundle, **changes: Any) -> None:
    manifest = bundle.path / MANIFEST_NAME
    manifest.write_bytes(sealed({**json.loads(manifest.read_text()), **changes}))


def test_a_manifest_survives_writing_and_loading(bundle: Bundle) -> None:
    assert load_bundle(bundle.path) == bundle
    assert bundle.file("warp") == bundle.path / "warp.tflite"


@pytest.mark.parametrize("name", ["warp.tflite", MANIFEST_NAME])
def test_every_changed_byte_names_its_file(bundle: Bundle, name: str) -> None:
    content = (bundle.path / name).read_bytes()
    for place in range(len(content)):
        changed = bytearray(content)
        changed[place] ^= (1, 0x20, 0xFF)[place % 3]
        (bundle.path / name).write_bytes(changed)
        with pytest.raises(BundleError, match=name):
            load_bundle(bundle.path)


def test_a_file_that_changes_after_loading_is_refused(bundle: Bundle) -> None:
    (bundle.path / "warp.tflite").write_bytes(b"kernal")  # same length
    with pytest.raises(BundleError, match="sha256"):
        bundle.file("warp")


def test_a_manifest_without_its_own_hash_is_refused(bundle: Bundle) -> None:
    manifest = bundle.path / MANIFEST_NAME
    body = json.loads(manifest.read_text())
    del body["sha256"]
    manifest.write_text(json.dumps(body))
    with pytest.raises(BundleError, match="its sha256 differs"):
        load_bundle(bundle.path)


def test_a_missing_file_and_an_unknown_role_are_refused(bundle: Bundle) -> None:
    (bundle.path / "warp.tflite").unlink()
    with pytest.raises(BundleError, match="missing"):
        load_bundle(bundle.path)
    with pytest.raises(BundleError, match="has no stylizer"):
        bundle.file("stylizer")


def test_a_folder_without_a_bundle_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="is not a bundle"):
        load_bundle(tmp_path)
    (tmp_path / MANIFEST_NAME).write_text("{")
    with pytest.raises(BundleError, match="not JSON"):
        load_bundle(tmp_path)
    for text in ("[]", "{}", '{"schema": "mvstylizer.bench/1"}', '{"schema": 2}'):
        (tmp_path / MANIFEST_NAME).write_text(text)
        with pytest.raises(BundleError, match="is not the manifest of a bundle"):
            load_bundle(tmp_path)


@pytest.mark.parametrize(
    ("number", "hint"),
    [
        (0, "Export the checkpoint again"),
        (1, "Export the checkpoint again"),
        (2, "Export the checkpoint again"),
        (4, "Update mvstylizer"),
        (99, "Update mvstylizer"),
    ],
)
def test_another_schema_names_its_version_and_what_to_do(tmp_path: Path, number: int, hint: str) -> None:
    (tmp_path / MANIFEST_NAME).write_text(json.dumps({"schema": f"mvstylizer.bundle/{number}"}))
    with pytest.raises(BundleError, match=f"has bundle schema {number}; .* reads 3") as caught:
        load_bundle(tmp_path)
    assert caught.value.hint.startswith(hint)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "changes",
    [
        {"version": 0},
        {"version": "1"},
        {"files": [{}]},
        {"files": 3},
    ],
)
def test_wrong_fields_are_refused(bundle: Bundle, changes: dict[str, Any]) -> None:
    edit(bundle, **changes)
    with pytest.raises(BundleError):
        load_bundle(bundle.path)


def test_a_path_outside_the_folder_is_refused(bundle: Bundle) -> None:
    row = json.loads((bundle.path / MANIFEST_NAME).read_text())["files"][0]
    edit(bundle, files=[{**row, "path": "../warp.tflite"}])
    with pytest.raises(BundleError, match="plain file name"):
        load_bundle(bundle.path)


def test_the_shipped_bundle_is_complete_and_small() -> None:
    shipped = load_bundle(default_bundle())
    assert {spec.role for spec in shipped.files} >= set(ROLES)
    assert sum(shipped.file(role).stat().st_size for role in ROLES) < 25_000_000
    for role in ROLES:
        assert shipped.spec(role).parity["max"] <= 1, role


def test_the_module_needs_only_the_standard_library() -> None:
    """Phone and edge read bundles through this module."""
    program = (
        "import sys; before = set(sys.modules); import mvstylizer.bundle;"
        "new = {m.split('.')[0] for m in set(sys.modules) - before};"
        "print(sorted(new - set(sys.stdlib_module_names)))"
    )
    root = Path(__file__).parents[2]
    found = subprocess.run(
        [sys.executable, "-c", program], cwd=root, capture_output=True, text=True, check=True
    )
    assert found.stdout.strip() == "['mvstylizer']"
