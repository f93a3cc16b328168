"""Compiling ahead of time: the checks before the vendor's compiler runs, and its errors on this machine."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from export import snapdragon
from export.parity import kernels as kernel_parity
from export.parity.kernels import Kernel, sized_kernels
from export.runtimes import hexagon
from export.runtimes.difference import ParityError
from export.snapdragon import SnapdragonError, compile_bundle, proven, why_missing
from mvstylizer.bundle import default_bundle
from mvstylizer_cli import main as cli

BUNDLE = default_bundle()


@pytest.fixture(scope="module")
def transfer() -> Kernel:
    kernels = sized_kernels([(64, 48)], lambda *_: (8, 6, 4))
    return next(kernel for kernel in kernels if kernel.role.startswith("transfer_accel"))


@pytest.fixture
def packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Packages as pip installs them without access to Qualcomm's server."""
    monkeypatch.syspath_prepend(str(tmp_path))
    for name in ("onnxruntime_qnn", snapdragon.SDK):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("def path_to_sdk_libs():\n    return None\n")
        monkeypatch.delitem(sys.modules, name, raising=False)
    return tmp_path


def test_an_incomplete_sdk_is_distinguished_from_a_missing_one(
    packages: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "could not download" in str(why_missing())
    monkeypatch.setitem(sys.modules, snapdragon.SDK, None)
    assert "mvstylizer[snapdragon]" in str(why_missing())


def test_the_command_names_what_is_missing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(snapdragon, "why_missing", lambda: "no compiler")
    words = ["export", "--compile", str(BUNDLE), "--out", str(tmp_path / "out")]
    assert str(CliRunner().invoke(cli.app, words).exception) == "No compiler"
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("words", [(), ("--check", "a", "--compile", "b"), ("--compile", "b")])
def test_the_command_needs_exactly_one_job_and_a_target(words: tuple[str, ...]) -> None:
    assert CliRunner().invoke(cli.app, ["export", *words]).exit_code == 2


def test_an_unknown_chip_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(snapdragon, "why_missing", lambda: None)
    with pytest.raises(SnapdragonError, match="SM8350 is not one of SM8450"):
        compile_bundle(BUNDLE, tmp_path, ["SM8350"])


def test_an_unchecked_kernel_is_not_compiled(transfer: Kernel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hexagon, "why_missing", lambda: "no library")
    with pytest.raises(SnapdragonError, match="cannot be checked"):
        proven(transfer, transfer.build())


def test_a_kernel_that_hexagon_computes_wrong_is_not_compiled(
    transfer: Kernel, monkeypatch: pytest.MonkeyPatch
) -> None:
    def off(by: float) -> None:
        monkeypatch.setattr(
            kernel_parity, "run_on_htp", lambda _, cases: [[np.asarray(c.expected) + by] for c in cases]
        )

    monkeypatch.setattr(hexagon, "why_missing", lambda: None)
    off(0.25)
    assert proven(transfer, transfer.build()) == pytest.approx(0.25)
    off(30)
    with pytest.raises(ParityError, match="Hexagon numerics"):
        proven(transfer, transfer.build())


def test_a_failing_compiler_leaves_no_file(transfer: Kernel, packages: Path, tmp_path: Path) -> None:
    with pytest.raises(SnapdragonError, match="cannot compile for SM8650"):
        snapdragon._compile(transfer.build(), "SM8650", tmp_path / "out.tflite")
    assert not list(tmp_path.glob("*out*"))
