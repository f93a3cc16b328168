"""The wheel: builds, contains every data file, and works outside the clone however it was installed."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile
from email.message import Message
from email.parser import HeaderParser
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
NOT_COPIED = (
    ".git",
    ".venv*",
    ".mypy_cache",
    ".ruff_cache",
    ".hypothesis",
    "*.egg-info",
    "build",
    "dist",
    "site",
    "tests",
)
PIP = (sys.executable, "-m", "pip", "--disable-pip-version-check")
OFFLINE = ("--no-deps", "--no-index", "--quiet")

# Loads both bundles and verifies every file of them; standard library only.
LOAD_MODELS = """
import mvstylizer
from mvstylizer.bundle import default_bundle, load_bundle
for variant in ("mvstylizer", "lite"):
    bundle = load_bundle(default_bundle(variant))
    for file in bundle.files:
        bundle.file(file.role)
print(mvstylizer.__file__)
"""

USER_SCRIPT = """
from pathlib import Path

import mvstylizer

bundle = mvstylizer.load_bundle(mvstylizer.default_bundle())
try:
    with mvstylizer.OnnxStylizer(bundle) as stylizer:
        report = mvstylizer.stylize_video(
            Path("street.mp4"), Path("dusk.jpg"), Path("out.mp4"), stylizer=stylizer, bundle=bundle
        )
    print(report.frames + 1, mvstylizer.__version__.upper())
except mvstylizer.MVStylizerError as error:
    print(error.hint.upper())
"""
WRONG_SCRIPT = """
import mvstylizer

mvstylizer.load_bundle(3)
mvstylizer.no_such_name
"""

pytestmark = pytest.mark.slow


def run(*command: object, cwd: Path, status: int = 0, **variables: str) -> str:
    done = subprocess.run(
        [*map(str, command)],
        cwd=cwd,
        env={**{k: v for k, v in os.environ.items() if k != "PYTHONPATH"}, **variables},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == status, done.stderr + done.stdout
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    copy = shutil.copytree(ROOT, folder / "copy", ignore=shutil.ignore_patterns(*NOT_COPIED))
    # Through setuptools' own interface (PEP 517), because pip would download a setuptools first.
    program = f"import setuptools.build_meta as b; print(b.build_wheel({str(folder)!r}))"
    run(sys.executable, "-c", program, cwd=copy)
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def python(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment with the installed wheel, where this environment's other packages can be imported."""
    folder = tmp_path_factory.mktemp("clean")
    venv.create(folder / "venv", symlinks=True)
    python = folder / "venv" / "bin" / "python"
    run(*PIP, "--python", python, "install", *OFFLINE, wheel, cwd=folder)
    packages = run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", cwd=folder).strip()
    (Path(packages) / "others.pth").write_text(sysconfig.get_path("purelib"))
    where = run(python, "-c", "import mvstylizer; print(mvstylizer.__file__)", cwd=folder)
    assert where.startswith(packages), "the clone is imported instead of the wheel"
    return python


def metadata(wheel: Path) -> Message:
    archive = zipfile.ZipFile(wheel)
    (name,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
    return HeaderParser().parsestr(archive.read(name).decode())


def test_the_wheel_contains_every_data_file(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    for part in (
        "studio/page/index.html",
        "studio/page/studio.js",
        "edge_triton/dashboards/edge.json",
        "edge_triton/triton/requirements.txt",
        "mvstylizer/models/mvstylizer/model.json",
        "mvstylizer/models/mvstylizer/stylizer.onnx",
        "mvstylizer/models/lite/look.tflite",
        "training/weights/vgg16_relu4_1.fp16.safetensors",
    ):
        assert part in names, part
    assert not [name for name in names if name.startswith(("tests/", "docs/", "examples/"))]


def test_every_package_of_the_wheel_is_typed(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    packages = {name.split("/")[0] for name in names if name.endswith("/__init__.py")}
    assert len(packages) == 9
    assert {f"{package}/py.typed" for package in packages} <= set(names)
    assert "Typing :: Typed" in (metadata(wheel).get_all("Classifier") or [])


def test_the_default_install_limits_neither_numpy_nor_opencv_to_old_versions(wheel: Path) -> None:
    needs = metadata(wheel).get_all("Requires-Dist") or []
    default = {need.split(";")[0].strip() for need in needs if "extra ==" not in need}
    assert {"numpy<3,>=1.26", "opencv-python-headless<6,>=4.11"} <= default
    assert not [need for need in needs if need.startswith("nvidia-pytriton")]


def test_the_command_stylizes_a_clip_in_a_clean_environment(
    python: Path, street: Path, dusk: Path, tmp_path: Path
) -> None:
    command = python.with_name("mvstylizer")
    assert "Usage: mvstylizer" in run(command, "--help", cwd=tmp_path)
    printed = run(command, "stylize", street, "--style", dusk, "--out", "out.mp4", "--local", cwd=tmp_path)
    assert "out.mp4" in printed
    assert (tmp_path / "out.mp4").stat().st_size


def test_the_server_environment_can_be_installed_from_the_wheel(python: Path, tmp_path: Path) -> None:
    """The pinned requirements are found. An unusable folder ends it before anything is downloaded."""
    (tmp_path / "file").touch()
    command = python.with_name("mvstylizer")
    folder = str(tmp_path / "file" / "triton")
    run(command, "serve", "--install", cwd=tmp_path, status=1, MVSTYLIZER_TRITON=folder)


def test_pip_install_target_finds_the_models(wheel: Path, tmp_path: Path) -> None:
    target = tmp_path / "target"
    run(*PIP, "install", *OFFLINE, "--target", target, wheel, cwd=tmp_path)
    base = sys._base_executable  # type: ignore[attr-defined]
    where = run(base, "-s", "-c", LOAD_MODELS, cwd=tmp_path, PYTHONPATH=str(target))
    assert where.startswith(str(target))


def test_pip_install_user_finds_the_models(wheel: Path, tmp_path: Path) -> None:
    user = tmp_path / "user"
    base = sys._base_executable  # type: ignore[attr-defined]
    settings = {"PYTHONUSERBASE": str(user), "PIP_BREAK_SYSTEM_PACKAGES": "1"}
    run(*PIP, "--python", base, "install", *OFFLINE, "--user", wheel, cwd=tmp_path, **settings)
    where = run(base, "-c", LOAD_MODELS, cwd=tmp_path, **settings)
    assert where.startswith(str(user))


@pytest.fixture(scope="module")
def scripts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a user's script and one with two mistakes."""
    folder = tmp_path_factory.mktemp("scripts")
    (folder / "user.py").write_text(USER_SCRIPT)
    (folder / "wrong.py").write_text(WRONG_SCRIPT)
    return folder


def test_mypy_checks_a_users_script_against_the_wheel(python: Path, scripts: Path) -> None:
    mypy = (sys.executable, "-m", "mypy", "--strict", "--python-executable", python, "--cache-dir=cache")
    run(*mypy, "user.py", cwd=scripts)
    printed = run(*mypy, "wrong.py", cwd=scripts, status=1)
    assert "[arg-type]" in printed
    assert "[attr-defined]" in printed


def test_pyright_checks_a_users_script_against_the_wheel(python: Path, scripts: Path) -> None:
    pyright = (sys.executable, "-m", "pyright", "--outputjson", "--pythonpath", python)
    report = json.loads(run(*pyright, "user.py", cwd=scripts))
    assert report["summary"]["errorCount"] == 0
    report = json.loads(run(*pyright, "wrong.py", cwd=scripts, status=1))
    rules = {found["rule"] for found in report["generalDiagnostics"] if found["severity"] == "error"}
    assert rules == {"reportArgumentType", "reportAttributeAccessIssue"}
