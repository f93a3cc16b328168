from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from training.checkpoint import CheckpointError, load_checkpoint, save_checkpoint
from training.options import StylizerDims
from training.stylizer import StylizerNetwork


def test_a_checkpoint_is_enough_to_rebuild_the_stylizer(tmp_path: Path, cat: torch.Tensor) -> None:
    stylizer = StylizerNetwork(StylizerDims(colorization="residual", smoothing_maps=5, ridge=0.01)).eval()
    torch.nn.init.normal_(stylizer.local.decoder.rgb.weight, std=0.01)
    save_checkpoint(tmp_path / "deep" / "a.safetensors", stylizer, 7, {"batch": 2})
    again, info = load_checkpoint(tmp_path / "deep" / "a.safetensors")
    assert (info.step, info.train, info.dims) == (7, {"batch": 2}, stylizer.dims)
    with torch.no_grad():
        code = stylizer.encode_style(cat)
        torch.testing.assert_close(again(cat, code), stylizer(cat, code))
    assert (tmp_path / "deep" / "a.safetensors").stat().st_size < 5_500_000  # the frozen encoder stays out
    assert [p.name for p in (tmp_path / "deep").iterdir()] == ["a.safetensors"]


def test_missing_damaged_and_foreign_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="does not exist"):
        load_checkpoint(tmp_path / "none.safetensors")
    (tmp_path / "bad.safetensors").write_bytes(b"\x01" * 100)
    with pytest.raises(CheckpointError, match="damaged"):
        load_checkpoint(tmp_path / "bad.safetensors")
    save_file({"x": torch.zeros(1)}, tmp_path / "other.safetensors")
    with pytest.raises(CheckpointError, match="not a stylizer checkpoint"):
        load_checkpoint(tmp_path / "other.safetensors")


def test_another_format_names_its_version(tmp_path: Path) -> None:
    path = tmp_path / "newer.safetensors"
    save_file({"x": torch.zeros(1)}, path, metadata={"format": "mvstylizer.checkpoint/9"})
    with pytest.raises(CheckpointError, match="has checkpoint format 9; this version reads 2"):
        load_checkpoint(path)


def test_weights_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    stylizer = StylizerNetwork()
    del stylizer.local.decoder.rgb
    save_checkpoint(path, stylizer, 1, {})
    with pytest.raises(CheckpointError, match="does not fit"):
        load_checkpoint(path)
