"""`import mvstylizer`: light, complete, and typed like what it stands for."""

from __future__ import annotations

import ast
import importlib
import importlib.metadata
import inspect
import subprocess
import sys
from pathlib import Path

import pytest

import mvstylizer
from mvstylizer import _MODULES

ROOT = Path(__file__).parents[2]
PUBLIC = {
    "stylize_video",
    "stylize_photo",
    "default_bundle",
    "load_bundle",
    "EdgeClient",
    "OnnxStylizer",
    "StylizeOptions",
    "MVStylizerError",
    "__version__",
}


def modules_after(program: str) -> set[str]:
    command = [sys.executable, "-c", f"{program}\nimport sys\nprint(*sys.modules)"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_import_loads_nothing_heavy() -> None:
    added = modules_after("import mvstylizer") - modules_after("")
    outside = {name.partition(".")[0] for name in added} - sys.stdlib_module_names
    assert outside == {"mvstylizer"}
    # The slow parts of the standard library stay out too.
    assert not added & {"importlib.metadata", "email", "dataclasses", "inspect", "json", "asyncio"}


def test_bundle_and_error_need_the_standard_library_only() -> None:
    added = modules_after("import mvstylizer; mvstylizer.load_bundle, mvstylizer.MVStylizerError")
    assert not added & {"numpy", "cv2", "av", "onnxruntime", "tritonclient", "device_runtime", "edge_triton"}


def test_the_public_names() -> None:
    assert set(mvstylizer.__all__) == PUBLIC
    assert set(dir(mvstylizer)) >= PUBLIC


@pytest.mark.parametrize("name", sorted(_MODULES))
def test_each_name_is_the_object_it_stands_for(name: str) -> None:
    original = getattr(importlib.import_module(_MODULES[name]), name)
    assert getattr(mvstylizer, name) is original
    assert original.__module__ == _MODULES[name]
    assert vars(mvstylizer)[name] is original  # kept: the next access is an ordinary one


def test_type_checkers_see_the_same_names() -> None:
    tree = ast.parse(inspect.getsource(mvstylizer))
    (block,) = (
        node for node in tree.body if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
    )
    imports = [node for node in block.body if isinstance(node, ast.ImportFrom)]
    assert {alias.name: node.module for node in imports for alias in node.names} == _MODULES


def test_the_version_is_that_of_the_distribution() -> None:
    assert mvstylizer.__version__ == importlib.metadata.version("mvstylizer")


def test_star_import_gives_every_public_name() -> None:
    names: dict[str, object] = {}
    exec("from mvstylizer import *", names)
    assert set(names) >= PUBLIC


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="stylise_video"):
        _ = mvstylizer.stylise_video  # type: ignore[attr-defined]
    with pytest.raises(ImportError, match="stylise_video"):
        from mvstylizer import stylise_video  # type: ignore[attr-defined]  # noqa: F401
