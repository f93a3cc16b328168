"""A stranger's models are run once in a child before this process loads them."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from device_runtime import trial
from device_runtime.trial import try_models
from mvstylizer.bundle import Bundle, BundleError, default_bundle, file_spec, load_bundle, write_manifest
from mvstylizer_cli.main import app

WHOLE = load_bundle(default_bundle("lite"))


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.chdir(Path(__file__).parents[2])
    return tmp_path / "cache" / "mvstylizer" / "tried"


def bundle_of(folder: Path, role: str, content: bytes) -> Bundle:
    """Write a bundle of one model, with a manifest that matches."""
    folder.mkdir(parents=True)
    spec = WHOLE.spec(role)
    shutil.copy(WHOLE.file("golden"), folder / "golden.npz")
    (folder / spec.path).write_bytes(content)
    files = (
        file_spec(folder, role, spec.path, spec.inputs, spec.outputs),
        file_spec(folder, "golden", "golden.npz"),
    )
    write_manifest(Bundle(folder, "one", 1, files))
    return load_bundle(folder)


def test_a_good_bundle_is_tried_once(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bundle = bundle_of(tmp_path / "good", "transfer", WHOLE.file("transfer").read_bytes())
    try_models(bundle)
    assert len(list(cache.iterdir())) == 1
    monkeypatch.setattr(trial, "_WORKER", "no.such.module")
    try_models(bundle)


def test_the_bundles_of_the_installation_are_not_tried(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trial, "_WORKER", "no.such.module")
    try_models(WHOLE)
    assert not cache.exists()


@pytest.mark.parametrize("role", ["transfer", "stylizer", "look_tflite"])
def test_a_damaged_model_is_named(tmp_path: Path, cache: Path, role: str) -> None:
    content = WHOLE.file(role).read_bytes()
    bundle = bundle_of(tmp_path / "bad", role, content[: len(content) // 3])
    with pytest.raises(BundleError, match=WHOLE.spec(role).path) as caught:
        try_models(bundle)
    assert str(caught.value).isprintable()
    assert not cache.exists()


def test_a_crash_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bundle = bundle_of(tmp_path / "bad", "transfer", WHOLE.file("transfer").read_bytes())
    monkeypatch.setattr(trial, "_WORKER", "tests.device_runtime.crashing_worker")
    with pytest.raises(BundleError, match=r"transfer\.tflite ends its runtime \(SIGABRT\)"):
        try_models(bundle)


@pytest.mark.parametrize("command", ["stylize", "lut", "studio"])
def test_commands_try_a_bundle_before_they_use_it(tmp_path: Path, dusk: Path, command: str) -> None:
    content = WHOLE.file("transfer").read_bytes()
    bundle = bundle_of(tmp_path / "bad", "transfer", content[: len(content) // 3])
    files = {
        "stylize": [str(dusk), "--style", str(dusk), "--out", str(tmp_path / "out.jpg"), "--local"],
        "lut": [str(dusk), "--style", str(dusk), "--out", str(tmp_path / "out.cube"), "--local"],
        "studio": ["--local", "--port", "0"],
    }
    result = CliRunner().invoke(app, [command, *files[command], "--bundle", str(bundle.path)])
    assert isinstance(result.exception, BundleError)
    assert "transfer.tflite cannot be loaded" in str(result.exception)
