from __future__ import annotations

from pathlib import Path

import pytest

from device_runtime.media.photo import PhotoError
from device_runtime.media.reader import VideoError
from studio.shelf import Role, Shelf, look_into, plain_name


@pytest.mark.parametrize(
    ("name", "plain"),
    [
        ("street.mp4", "street.mp4"),
        ("../../etc/passwd", "passwd"),
        ("C:\\clips\\a b.mov", "a b.mov"),
        ("line\nbreak\x00.mp4", "linebreak.mp4"),
        ("", "file"),
        ("..", "file"),
        ("dir/", "file"),
        (".hidden", "hidden"),
        ("été.jpg", "été.jpg"),
    ],
)
def test_a_name_is_a_file_name_and_nothing_else(name: str, plain: str) -> None:
    assert plain_name(name) == plain


def test_an_endless_name_ends_and_keeps_its_suffix() -> None:
    for name in ("ü" * 5000 + ".mp4", "ü" * 5000):
        assert len(plain_name(name).encode()) <= 255
    assert plain_name("a" * 5000 + ".mp4").endswith(".mp4")


def test_a_new_file_replaces_the_last_one_and_its_result(street: Path, dusk: Path) -> None:
    with Shelf() as shelf:
        for name in ("first.mp4", "second.mp4"):
            with shelf.arrival(name) as path:
                path.write_bytes(street.read_bytes())
                source = shelf.put("source", look_into(path, "source"))
        with shelf.arrival("dusk.jpg") as path:
            path.write_bytes(dusk.read_bytes())
            style = shelf.put("style", look_into(path, "style"))
        assert (source.kind, source.width, source.height, source.rate) == ("video", 320, 136, 25.0)
        out = shelf.new_result(source, style)
        out.write_bytes(b"done")
        shelf.result = out
        folder = out.parents[1]
        names = {path.name for path in folder.rglob("*") if path.is_file()}
        assert names == {"second.mp4", "dusk.jpg", "second-dusk.mp4"}
        with shelf.arrival("third.mp4") as path:
            path.write_bytes(street.read_bytes())
            shelf.put("source", look_into(path, "source"))
        assert shelf.result is None
        assert not out.exists()
    assert not folder.exists()


def arrive(shelf: Shelf, role: Role, name: str) -> None:
    with shelf.arrival(name) as path:
        path.write_text("neither a video nor a photo")
        shelf.put(role, look_into(path, role))


def test_what_is_not_taken_does_not_stay() -> None:
    with Shelf() as shelf:
        with pytest.raises(VideoError) as caught:
            arrive(shelf, "source", "a.mp4")
        assert shelf.line(caught.value).startswith("a.mp4 ")
        with pytest.raises(PhotoError):
            arrive(shelf, "style", "b.jpg")
        assert shelf.files == {}
        with shelf.arrival("c") as path:
            assert list(path.parents[1].iterdir()) == [path.parent]
