from __future__ import annotations

from pathlib import Path

import pytest
import torch

import export.bundle as bundle_module
from export.bundle import export_bundle
from export.kernel_parity import ParityError
from export.manifest import MANIFEST_NAME, ROLES, BundleError, load_bundle
from training.checkpoint import CheckpointError, save_checkpoint
from training.stylizer import Stylizer


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("run") / "small.safetensors"
    save_checkpoint(path, Stylizer(), 12, {})
    return path


@pytest.mark.slow
def test_checkpoint_to_bundle_over_an_older_one(checkpoint: Path, tmp_path: Path) -> None:
    lines: list[str] = []
    out = tmp_path / "deep" / "bundle"
    out.mkdir(parents=True)
    (out / MANIFEST_NAME).write_text("{}")
    (out / "old.onnx").write_bytes(b"of the release before")
    export_bundle(checkpoint, out, version=4, ridge=0.25, report=lines.append)
    loaded = load_bundle(out)
    assert loaded.network["ridge"] == 0.25
    assert (loaded.version, loaded.source["step"]) == (4, 12)
    assert {loaded.file(role).parent for role in ROLES} == {out}
    assert len(lines) == len(ROLES)
    assert [p.name for p in out.parent.iterdir()] == ["bundle"]
    assert not (out / "old.onnx").exists()


def test_a_file_that_differs_fails_the_export_and_leaves_nothing(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def wrong(stylizer: Stylizer, path: Path) -> None:
        with torch.no_grad():
            broken = Stylizer(stylizer.dims).eval()
            assert broken.decoder.rgb.bias is not None
            broken.decoder.rgb.bias += 0.1
        write(broken, path)

    write = bundle_module.write_stylizer
    monkeypatch.setattr(bundle_module, "write_stylizer", wrong)
    with pytest.raises(ParityError, match="differs from PyTorch"):
        export_bundle(checkpoint, tmp_path / "bundle")
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
