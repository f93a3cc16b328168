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

ROOT = Path(__file__).parents[2]


def test_this_machine_can_do_the_main_job() -> None:
    findings = {finding.name: finding for finding in doctor.examine()}
    assert len(findings) == len(doctor.CHECKS)
    assert [f for f in findings.values() if f.verdict == "missing"] == []
    assert all(f.mend for f in findings.values() if f.verdict != "ok")


def test_as_json_on_the_command_line() -> None:
    command = [sys.executable, "-m", "mvstylizer_cli", "doctor", "--json"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["ready"] is True
    assert {row["name"] for row in report["findings"]} >= {"python", "models", "bundled Triton", "video"}


def test_a_missing_model_is_exit_1_and_says_what_to_do(tmp_path: Path) -> None:
    """The same code without its models, as after a half copied clone."""
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
    assert "mend: Install the kit again" in done.stdout
    assert "Traceback" not in done.stderr


def test_a_taken_port_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        monkeypatch.setattr(doctor, "PORTS", {port: "mvstylizer serve --port 8101"})
        finding = doctor.check_ports()
    assert finding.verdict == "absent"
    assert f"{port} taken" in finding.found
    assert "--port" in finding.mend


def test_no_libpython_is_named_with_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "find_library", lambda name: None)
    monkeypatch.setattr(doctor.sysconfig, "get_config_var", lambda name: "/nowhere")
    monkeypatch.setattr(doctor.sys, "base_exec_prefix", "/nowhere")
    finding = doctor.check_libpython()
    assert finding.verdict == "missing"
    assert "apt install libpython3" in finding.mend


def test_a_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "EXTRAS", {"fl": "no_such_package", "dev": "pytest"})
    finding = doctor.check_extras()
    assert (finding.verdict, finding.found) == ("absent", "without fl")
    assert "mvstylizer[fl]" in finding.mend


def test_a_gpu_that_does_not_answer_is_a_finding(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "nvidia-smi").write_text("#!/bin/nowhere\n")
    (tmp_path / "nvidia-smi").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    finding = doctor.check_gpu()
    assert finding.verdict == "absent"
    assert "driver" in finding.mend


def test_too_little_room_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "MIN_DISK", 1 << 60)
    assert doctor.check_disk().verdict == "missing"
    monkeypatch.setattr(doctor, "SHARED_MEMORY", Path("/nowhere"))
    assert "does not exist" in doctor.check_shared_memory().found


def test_no_adb_is_no_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    assert doctor.check_adb().verdict == "absent"
    assert doctor.check_gpu().verdict == "absent"
