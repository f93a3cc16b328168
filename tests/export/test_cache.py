"""The cache of slow steps: hits, damage, limits, and what a key depends on."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from export import cache as cache_module
from export.cache import Cache, cache_folder
from export.parity.kernels import KERNELS
from export.parity.reference import Reference
from export.writers.draft import Draft
from export.writers.kernels import write_kernel
from mvstylizer.bundle import FileSpec
from training.stylizer import StylizerNetwork


def test_files_come_back(tmp_path: Path) -> None:
    cache = Cache(tmp_path / "cache")
    assert cache.get("one") is None
    cache.put("one", {"a": b"first", "b": b""})
    assert cache.get("one") == {"a": b"first", "b": b""}
    cache.put("one", {"a": b"second"})
    assert Cache(tmp_path / "cache").get("one") == {"a": b"second"}


@pytest.mark.parametrize("name", ["a", "entry.json"])
def test_a_damaged_entry_does_not_count(tmp_path: Path, name: str) -> None:
    cache = Cache(tmp_path)
    cache.put("one", {"a": b"first"})
    (tmp_path / "one" / name).write_bytes(b"other")
    assert cache.get("one") is None
    (tmp_path / "one" / name).unlink()
    assert cache.get("one") is None


def test_the_entries_unused_for_the_longest_time_go_first(tmp_path: Path) -> None:
    cache = Cache(tmp_path, max_bytes=3000)
    for age, key in enumerate(("newest", "middle", "oldest")):
        Cache(tmp_path).put(key, {"a": bytes(900)})
        os.utime(tmp_path / key, (1e9 - age, 1e9 - age))
    assert cache.get("oldest")  # a use makes it the newest
    cache.put("more", {"a": bytes(900)})
    assert {path.name for path in tmp_path.iterdir()} == {"oldest", "newest", "more"}


def test_a_folder_that_cannot_be_written_keeps_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    cache = Cache(tmp_path / "file" / "cache")
    cache.put("one", {"a": b"first"})
    assert cache.get("one") is None


def test_keys_depend_on_parts_code_and_converters(monkeypatch: pytest.MonkeyPatch) -> None:
    keys = {Cache.key("kernel", "warp"), Cache.key("kernel", "transfer"), Cache.key("kernelwarp")}
    monkeypatch.setattr(cache_module, "_code_digest", lambda: "changed")
    keys.add(Cache.key("kernel", "warp"))
    monkeypatch.setattr(cache_module, "tools", lambda: {"tensorflow": "1.0"})
    keys.add(Cache.key("kernel", "warp"))
    assert len(keys) == 5


def test_the_folder_is_in_the_users_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "mvstylizer" / "export"


def test_a_kernel_is_built_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines: list[str] = []

    def written(name: str) -> FileSpec:
        folder = tmp_path / name
        folder.mkdir()
        draft = Draft(folder, Reference(StylizerNetwork()), {}, lines.append, Cache(tmp_path / "cache"))
        write_kernel(draft, KERNELS["key_frame"], None)
        return draft.files[0]

    first = written("first")
    monkeypatch.setattr("export.writers.kernels.rejections", lambda _: pytest.fail("built again"))
    assert written("second") == first
    assert (tmp_path / "second" / first.path).read_bytes() == (tmp_path / "first" / first.path).read_bytes()
    assert ["from the cache" in line for line in lines] == [False, True]
