"""Which Python the bundled server embeds, with interpreters that only print what they are."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from edge_triton.triton import interpreter as module
from edge_triton.triton.interpreter import InterpreterError, find_interpreter, probe

GOOD = {"version": "3.12", "library": "/usr/lib/libpython3.12.so.1.0", "loads": True, "has_pip": True}
Fake = Callable[..., Path]


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Fake:
    """Put an interpreter on an otherwise empty PATH: `fake("python3.12", loads=False)`."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(module.sys, "version_info", SimpleVersion())

    def make(name: str, **differences: object) -> Path:
        path = tmp_path / name
        path.write_text(f"#!/bin/sh\necho '{json.dumps(GOOD | differences)}'\n")
        path.chmod(0o755)
        return path

    return make


class SimpleVersion(tuple[int, int, int]):
    """A Python that the server does not support."""

    major, minor, micro = 3, 13, 0


def test_this_python_describes_itself() -> None:
    found = probe(Path(sys.executable))
    assert found is not None
    assert found.version == f"{sys.version_info.major}.{sys.version_info.minor}"
    assert found.has_pip


def test_an_unsupported_python_uses_a_supported_one_on_the_path(fake: Fake) -> None:
    path = fake("python3.12")
    assert find_interpreter().path == path


def test_an_executable_that_fails_is_skipped(fake: Fake, tmp_path: Path) -> None:
    (tmp_path / "python3.12").write_text("#!/bin/sh\nexit 127\n")  # a pyenv shim that is not selected
    (tmp_path / "python3.12").chmod(0o755)
    path = fake("python3.11", version="3.11")
    assert find_interpreter().path == path


def test_without_a_supported_python_one_line_names_what_to_install(fake: Fake) -> None:
    fake("python3.13", version="3.13")
    with pytest.raises(InterpreterError, match=r"needs Python 3\.11 or 3\.12") as caught:
        find_interpreter()
    assert "apt install python3.11-venv" in caught.value.hint


def test_a_python_without_its_shared_library_is_refused(fake: Fake) -> None:
    fake("python3.12", loads=False, library="")
    with pytest.raises(InterpreterError, match=r"no shared library \(libpython3\.12") as caught:
        find_interpreter()
    assert "apt install libpython3.12" in caught.value.hint


def test_a_python_without_ensurepip_is_refused(fake: Fake) -> None:
    fake("python3.11", version="3.11", has_pip=False)
    with pytest.raises(InterpreterError, match="no ensurepip") as caught:
        find_interpreter()
    assert "apt install python3.11-venv" in caught.value.hint
