"""Imports run one way, and the light doors stay light."""

from __future__ import annotations

import ast
import importlib.metadata
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
# Folder → what it may import of ours (DESIGN section 1).
ALLOWED = {
    "training": set(),
    "export": {"training"},
    "edge_triton": {"export.manifest", "export.release", "export.signature"},
    "device_runtime": {"export.manifest", "edge_triton.client"},
    "studio": {"device_runtime", "export.manifest"},
}
OURS = (*ALLOWED, "fl", "benchmarks")


def imported(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return names


@pytest.mark.parametrize("folder", ALLOWED)
def test_imports_run_one_way(folder: str) -> None:
    for path in (ROOT / folder).rglob("*.py"):
        for name in imported(path):
            if name.split(".")[0] not in OURS or name.split(".")[0] == folder:
                continue
            allowed = any(name == a or name.startswith(f"{a}.") for a in ALLOWED[folder])
            # `from edge_triton import client` names the package first.
            assert allowed or name in {a.split(".")[0] for a in ALLOWED[folder]}, f"{path} imports {name}"


def modules_after(program: str) -> set[str]:
    command = [sys.executable, "-c", f"{program}; import sys; print(*sys.modules)"]
    found = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return set(found.stdout.split())


def test_the_phone_loads_no_training_framework() -> None:
    files = sorted((ROOT / "device_runtime").rglob("*.py"))
    names = [".".join(p.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__") for p in files]
    loaded = modules_after("; ".join(f"import {name}" for name in names))
    assert not loaded & {"torch", "tensorflow", "onnx", "edge_triton.server", "edge_triton.repository"}


def test_help_loads_nothing_heavy() -> None:
    program = """
import sys, mvstylizer
sys.argv = ["mvstylizer", "--help"]
try:
    mvstylizer.main()
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
    for name in ALLOWED:
        assert set(owners.get(name, ["mvstylizer"])) == {"mvstylizer"}, name
