"""Where the bundled server's environment is, and how one that cannot be used is reported."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge_triton.triton import environment as module
from edge_triton.triton.environment import (
    REQUIREMENTS,
    ServerEnvironment,
    ServerEnvironmentError,
    requirements_digest,
    server_folder,
)


@pytest.fixture
def complete(tmp_path: Path) -> ServerEnvironment:
    """The files that an environment must contain, without their contents."""
    library = tmp_path / "libpython3.11.so.1.0"
    library.touch()
    made = ServerEnvironment(tmp_path / "triton", "3.11", str(library), requirements_digest())
    for path in (made.interpreter, made.stub):
        path.parent.mkdir(parents=True)
        path.touch()
    made.write()
    return made


def test_a_complete_environment_is_found_as_it_was_written(complete: ServerEnvironment) -> None:
    assert ServerEnvironment.find(complete.folder) == complete


def test_the_folder_is_in_the_users_cache_and_changes_with_the_requirements(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("MVSTYLIZER_TRITON", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    before = server_folder()
    assert before.parent == tmp_path / "mvstylizer"
    (tmp_path / "requirements.txt").write_text(REQUIREMENTS.read_text() + "# another release\n")
    monkeypatch.setattr(module, "REQUIREMENTS", tmp_path / "requirements.txt")
    assert server_folder() != before


def test_without_xdg_cache_home_the_cache_is_in_the_home_folder(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("MVSTYLIZER_TRITON", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert server_folder().parent == tmp_path / ".cache" / "mvstylizer"


def test_the_variable_names_another_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("MVSTYLIZER_TRITON", str(tmp_path / "here"))
    assert server_folder() == tmp_path / "here"


def test_a_missing_environment_names_the_command(tmp_path: Path) -> None:
    with pytest.raises(ServerEnvironmentError, match="not installed") as caught:
        ServerEnvironment.find(tmp_path / "none")
    assert "Run: mvstylizer serve --install" in caught.value.hint


def test_an_environment_of_other_requirements_is_refused(complete: ServerEnvironment) -> None:
    ServerEnvironment(complete.folder, complete.python, complete.library, "0" * 64).write()
    with pytest.raises(ServerEnvironmentError, match="another release"):
        ServerEnvironment.find(complete.folder)


@pytest.mark.parametrize("lost", ["interpreter", "stub", "library"])
def test_a_lost_file_is_reported(complete: ServerEnvironment, lost: str) -> None:
    path = Path(getattr(complete, lost))
    path.unlink()
    with pytest.raises(ServerEnvironmentError, match=f"damaged .*{path.name}"):
        ServerEnvironment.find(complete.folder)


@pytest.mark.parametrize("record", ["", "[]", "{}", "\0"])
def test_an_unreadable_record_is_reported(complete: ServerEnvironment, record: str) -> None:
    (complete.folder / module.RECORD).write_text(record)
    with pytest.raises(ServerEnvironmentError, match="damaged"):
        ServerEnvironment.find(complete.folder)


def test_every_requirement_is_pinned_to_hashes_for_both_machines() -> None:
    lines = [line for line in REQUIREMENTS.read_text().splitlines() if line and not line.startswith("#")]
    packages = [line.split("==")[0] for line in lines if "==" in line]
    assert packages == ["nvidia-pytriton", "numpy", "onnxruntime"]
    hashes = "\n".join(lines).split("==")[1:]
    assert [block.count("--hash=sha256:") for block in hashes] == [2, 4, 4]
