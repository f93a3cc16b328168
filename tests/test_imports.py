"""What is imported stays light. The direction of imports is a contract in pyproject.toml (`make lint`)."""

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
NOT_ON_A_PHONE = {
    "torch",
    "tensorflow",
    "onnx",
    "edge_triton.triton.server",
    "edge_triton.triton.repository",
}
HEAVY = {
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
HELP = """
import sys, mvstylizer_cli.main as cli
sys.argv = ["mvstylizer", "--help"]
try:
    cli.main()
except SystemExit:
    print(*sys.modules)
"""


def output_of(program: str) -> str:
    command = [sys.executable, "-c", program]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout


def test_the_phone_imports_no_training_framework_and_no_server() -> None:
    files = sorted((ROOT / "device_runtime").rglob("*.py"))
    names = [".".join(p.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__") for p in files]
    imports = "; ".join(f"import {name}" for name in names)
    loaded = set(output_of(f"{imports}; import sys; print(*sys.modules)").split())
    assert not loaded & NOT_ON_A_PHONE


def test_help_imports_nothing_heavy() -> None:
    printed = output_of(HELP)
    assert "Usage: mvstylizer" in printed
    assert not set(printed.splitlines()[-1].split()) & HEAVY


def test_no_other_package_contains_our_folders() -> None:
    """Names such as `training` are common, and of two wheels with one the second overwrites the first."""
    owners = importlib.metadata.packages_distributions()
    for name in FOLDERS:
        assert set(owners.get(name, ["mvstylizer"])) == {"mvstylizer"}, name
