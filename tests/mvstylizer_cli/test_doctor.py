from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest

import mvstylizer_cli.doctor as doctor
from device_runtime.pack.models import copy_for_phone
from mvstylizer.bundle import default_bundle

ROOT = Path(__file__).parents[2]


def test_this_machine_has_everything_that_stylize_needs() -> None:
    findings = {finding.name: finding for finding in doctor.examine()}
    assert len(findings) == len(doctor.CHECKS)
    assert [f for f in findings.values() if f.verdict == "missing"] == []
    assert all(f.fix for f in findings.values() if f.verdict != "ok")


def test_the_command_prints_json() -> None:
    command = [sys.executable, "-m", "mvstylizer_cli", "doctor", "--json"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["ready"] is True
    assert {row["name"] for row in report["findings"]} >= {"python", "models", "bundled Triton", "video"}


def test_a_missing_model_exits_with_1_and_a_fix(tmp_path: Path) -> None:
    """The same code without its models, as in a half-copied clone."""
    without_models = shutil.ignore_patterns("models")
    shutil.copytree(ROOT / "mvstylizer", tmp_path / "mvstylizer", ignore=without_models)
    for package in (path.parent for path in ROOT.glob("*/__init__.py")):
        if package.name != "mvstylizer":
            (tmp_path / package.name).symlink_to(package)
    command = [sys.executable, "-m", "mvstylizer_cli", "doctor"]
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, env=environment, timeout=120)
    assert done.returncode == 1
    assert "models" in done.stdout
    assert "fix: Reinstall mvstylizer" in done.stdout
    assert "Traceback" not in done.stderr


def test_models_without_onnx_are_complete_where_onnx_runtime_is_not_installed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    folder = tmp_path / "mvstylizer"
    copy_for_phone(default_bundle(), folder)
    monkeypatch.setattr("mvstylizer.bundle.default_bundle", lambda: folder)
    assert doctor.check_models().verdict == "missing"
    monkeypatch.setattr(doctor, "find_spec", lambda name: None)
    assert doctor.check_models().verdict == "ok"
    (folder / "warp.tflite").unlink()
    assert doctor.check_models().verdict == "missing"


def test_a_port_in_use_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        monkeypatch.setattr(doctor, "PORTS", {port: "mvstylizer serve --port 8101"})
        finding = doctor.check_ports()
    assert finding.verdict == "absent"
    assert f"{port} taken" in finding.found
    assert "--port" in finding.fix


def test_a_missing_server_is_reported_with_the_command_that_installs_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("MVSTYLIZER_TRITON", str(tmp_path / "none"))
    finding = doctor.check_server()
    assert finding.verdict == "missing"
    assert "mvstylizer serve --install" in finding.fix
    monkeypatch.setattr("platform.machine", lambda: "aarch64")
    assert doctor.check_server().verdict == "absent"  # a phone has an edge, or runs the lite model


def test_without_a_python_for_the_server_the_packages_to_install_are_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("edge_triton.triton.interpreter._candidates", lambda: iter(()))
    finding = doctor.check_server_python()
    assert finding.verdict == "absent"
    assert "apt install python3" in finding.fix


def test_a_missing_extra_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "EXTRAS", {"fl": "no_such_package", "dev": "pytest"})
    finding = doctor.check_extras()
    assert (finding.verdict, finding.found) == ("absent", "without fl")
    assert "mvstylizer[fl]" in finding.fix


def test_a_failing_gpu_driver_is_a_finding(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "nvidia-smi").write_text("#!/bin/nowhere\n")
    (tmp_path / "nvidia-smi").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    finding = doctor.check_gpu()
    assert finding.verdict == "absent"
    assert "driver" in finding.fix


def test_too_little_space_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "MIN_DISK", 1 << 60)
    assert doctor.check_disk().verdict == "missing"
    monkeypatch.setattr(doctor, "SHARED_MEMORY", Path("/nowhere"))
    assert "does not exist" in doctor.check_shared_memory().found


def test_a_missing_adb_is_not_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    assert doctor.check_adb().verdict == "absent"
    assert doctor.check_gpu().verdict == "absent"
