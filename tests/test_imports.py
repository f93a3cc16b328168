"""The light doors stay light; which way imports run is a contract in pyproject.toml (`make lint`)."""

from __future__ import annotations

import importlib.metadata
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
FOLDERS = (
    "mvstylizer",
    "mvstylizer_cli",
    "training",
    "export",
    "edge_triton",
    "device_runtime",
    "fl",
    "studio",
    "benchmarks",
)


def modules_after(program: str) -> set[str]:
    command = [sys.executable, "-c", f"{program}; import sys; print(*sys.modules)"]
    found = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return set(found.stdout.split())


def test_the_phone_loads_no_training_framework() -> None:
    files = sorted((ROOT / "device_runtime").rglob("*.py"))
    names = [".".join(p.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__") for p in files]
    loaded = modules_after("; ".join(f"import {name}" for name in names))
    assert not loaded & {
        "torch",
        "tensorflow",
        "onnx",
        "edge_triton.triton.server",
        "edge_triton.triton.repository",
    }


def test_help_loads_nothing_heavy() -> None:
    program = """
import sys, mvstylizer_cli.main as cli
sys.argv = ["mvstylizer", "--help"]
try:
    cli.main()
except SystemExit:
    print(*sys.modules)
"""
    command = [sys.executable, "-c", program]
    found = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert "Usage: mvstylizer" in found.stdout
    heavy = {
        "torch",
        "tensorflow",
        "numpy",
        "cv2",
        "av",
        "onnxruntime",
        "tritonclient",
        "flwr",
        "rich.console",
    }
    assert not set(found.stdout.splitlines()[-1].split()) & heavy


def test_no_other_package_owns_our_folders() -> None:
    """Names such as `training` are anybody's: two wheels with one would silently overwrite each other."""
    owners = importlib.metadata.packages_distributions()
    for name in FOLDERS:
        assert set(owners.get(name, ["mvstylizer"])) == {"mvstylizer"}, name
