"""Many files in one run: which files, which names, failures, and cancelling."""

from __future__ import annotations

import _thread
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from device_runtime.batch.plan import Item, NoFilesError, is_batch, plan_batch
from device_runtime.batch.run import run_batch
from device_runtime.media.atomic_file import OutputError
from device_runtime.media.photo import write_photo
from device_runtime.report import Report
from edge_triton.client.errors import EdgeUnavailableError
from mvstylizer.errors import MVStylizerError

PIXELS = np.zeros((4, 4, 3), np.uint8)


@contextmanager
def nothing() -> Iterator[Any]:
    yield None


def report(item: Item) -> Report:
    return Report(1, 1, 0, {"total": 0.0}, "none", "image", str(item.out), 4, 4)


def photo(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_photo(path, PIXELS)
    return path


def test_a_folder_is_searched_for_videos_and_photos(tmp_path: Path) -> None:
    folder = tmp_path / "holiday"
    photo(folder / "a.PNG".lower())
    photo(folder / "day2" / "a.png")
    photo(folder / ".thumbnails" / "a.png")
    style = photo(folder / "style.jpg")
    for name in ("b.avi", "b.MP4", "notes.txt", "words.srt", ".hidden.mp4"):
        (folder / name).write_bytes(b"x")
    out = folder / "out"
    photo(out / "old.png")
    items = plan_batch([folder], out, keep_out=[style])
    assert [(str(i.source.relative_to(folder)), str(i.out.relative_to(out))) for i in items] == [
        ("a.png", "a.png"),
        ("b.MP4", "b.MP4"),
        ("b.avi", "b.mp4"),
        ("day2/a.png", "day2/a.png"),
    ]


def test_results_of_one_name_are_numbered(tmp_path: Path) -> None:
    sources = [tmp_path / name for name in ("x/a.mp4", "y/a.mp4", "z/a.avi")]
    items = plan_batch(sources, tmp_path / "out")
    assert [item.out.name for item in items] == ["a.mp4", "a-2.mp4", "a-3.mp4"]


def test_what_is_a_batch(tmp_path: Path) -> None:
    assert is_batch(["a.mp4", "b.mp4"], "out")
    assert is_batch([str(tmp_path)], "out")
    assert is_batch(["a.mp4"], str(tmp_path))
    assert is_batch(["a.mp4"], "out/")
    assert not is_batch(["a.mp4"], "out.mp4")


def test_a_folder_without_a_usable_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("no picture")
    with pytest.raises(NoFilesError, match="has no video and no photo"):
        plan_batch([tmp_path], tmp_path / "out")
    with pytest.raises(OutputError, match="is a file"):
        plan_batch([tmp_path], tmp_path / "notes.txt")


def test_a_failed_file_does_not_end_the_run(tmp_path: Path) -> None:
    items = [Item(tmp_path / f"{name}.mp4", tmp_path / "out" / f"{name}.mp4") for name in "abcd"]

    def work(item: Item, stylizer: object, progress: object) -> Report:
        assert item.out.parent.is_dir()
        if item.source.stem == "b":
            raise MVStylizerError("b is broken", "Repair it")
        if item.source.stem == "c":
            raise ZeroDivisionError("a bug")
        return report(item)

    (tmp_path / "out").mkdir()
    items[3].out.write_bytes(b"")
    seen: list[tuple[str, int]] = []
    made = run_batch(
        items,
        tmp_path / "out",
        work,
        nothing,
        jobs=2,
        skip_existing=True,
        on_result=lambda result, done: seen.append((result.state, done)),
    )
    assert [file.state for file in made.files] == ["done", "failed", "failed", "skipped"]
    assert (made.files[1].error, made.files[1].hint) == ("b is broken", "Repair it")
    assert "ZeroDivisionError: a bug" in made.files[2].error
    assert [done for _, done in seen] == [1, 2, 3, 4]
    values = made.as_dict()
    assert (values["done"], values["failed"], values["skipped"]) == (1, 2, 1)
    assert values["files"][0]["report"]["frames"] == 1
    assert "1 done, 1 skipped, 2 failed" in made.summary()
    assert f"failed: {items[1].source}: b is broken" in made.summary()


def test_an_edge_that_is_gone_ends_the_run(tmp_path: Path) -> None:
    items = [Item(tmp_path / f"{number}.mp4", tmp_path / f"out{number}.mp4") for number in range(5)]
    tried: list[Item] = []

    def work(item: Item, stylizer: object, progress: object) -> Report:
        tried.append(item)
        raise EdgeUnavailableError("The edge does not answer")

    made = run_batch(items, tmp_path, work, nothing)
    assert len(tried) == 1
    assert [file.state for file in made.files] == ["failed"] * 5
    assert made.files[4].source == str(items[4].source)


def test_an_interrupt_ends_the_workers(tmp_path: Path) -> None:
    items = [Item(tmp_path / "a.mp4", tmp_path / "b.mp4"), Item(tmp_path / "c.mp4", tmp_path / "d.mp4")]
    unwound = threading.Event()

    def work(item: Item, stylizer: object, progress: Any) -> Report:
        try:
            while True:
                progress(1, None)
                time.sleep(1e-3)
        finally:
            unwound.set()

    first = threading.Lock()

    def interrupt(item: Item, done: int, total: int | None) -> None:
        if first.acquire(blocking=False):
            _thread.interrupt_main()

    with pytest.raises(KeyboardInterrupt):
        run_batch(items, tmp_path, work, nothing, on_frame=interrupt)
    assert unwound.is_set()
    assert [thread.name for thread in threading.enumerate() if thread.name.startswith("file-")] == []


def test_without_a_stylizer_the_run_fails(tmp_path: Path) -> None:
    @contextmanager
    def broken() -> Iterator[Any]:
        raise MVStylizerError("no model")
        yield

    with pytest.raises(MVStylizerError, match="no model"):
        run_batch([Item(tmp_path / "a", tmp_path / "b")], tmp_path, lambda *_: report(_[0]), broken)
