"""The wheel: builds, holds what it must, and works in a clean environment away from the clone."""

from __future__ import annotations

import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LEFT_OUT = (
    ".git",
    ".venv*",
    ".mypy_cache",
    ".ruff_cache",
    ".hypothesis",
    "*.egg-info",
    "build",
    "site",
    "tests",
)

pytestmark = pytest.mark.slow


def run(*command: object, cwd: Path) -> str:
    done = subprocess.run([*map(str, command)], cwd=cwd, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr + done.stdout
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    copy = shutil.copytree(ROOT, folder / "copy", ignore=shutil.ignore_patterns(*LEFT_OUT))
    # setuptools builds it; called by its own interface (PEP 517), as pip would fetch a setuptools first.
    program = f"import setuptools.build_meta as b; print(b.build_wheel({str(folder)!r}))"
    run(sys.executable, "-c", program, cwd=copy)
    (built,) = folder.glob("*.whl")
    return built


def test_it_holds_what_is_not_python_too(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    for part in (
        "studio/page/index.html", "studio/page/studio.js", "edge_triton/dashboards/edge.json",
        "share/mvstylizer/models/mvstylizer/model.json", "share/mvstylizer/models/mvstylizer/stylizer.onnx",
        "training/weights/vgg16_relu4_1.fp16.safetensors", "device_runtime/py.typed",
    ):  # fmt: skip
        assert any(name.endswith(part) for name in names), part
    assert not [name for name in names if name.startswith(("tests/", "docs/", "examples/"))]


def test_it_works_in_a_clean_environment(wheel: Path, dusk: Path, tmp_path: Path) -> None:
    venv.create(tmp_path / "venv", symlinks=True)
    python = tmp_path / "venv" / "bin" / "python"
    pip = (sys.executable, "-m", "pip", "--disable-pip-version-check", "--python", python)
    run(*pip, "install", "--no-deps", "--no-index", "--quiet", wheel, cwd=tmp_path)
    command = python.with_name("mvstylizer")
    assert "Usage: mvstylizer" in with_packages(python, command, "--help", cwd=tmp_path)
    shutil.copy(dusk, tmp_path / "a.jpg")
    said = with_packages(
        python, command, "stylize", "a.jpg", "--style", "a.jpg", "--out", "b.png", "--local", cwd=tmp_path
    )
    assert "b.png" in said


def with_packages(python: Path, *command: object, cwd: Path) -> str:
    """Run with this environment's other packages behind the clean ones, and not with the clone."""
    paths = run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", cwd=cwd).strip()
    (Path(paths) / "others.pth").write_text(sysconfig.get_path("purelib"))
    said = run(*command, cwd=cwd)
    where = run(python, "-c", "import mvstylizer; print(mvstylizer.__file__)", cwd=cwd)
    assert where.startswith(str(python.parents[1])), "the clone was used, not the wheel"
    return said
