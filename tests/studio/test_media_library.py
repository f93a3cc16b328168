from __future__ import annotations

from pathlib import Path

import pytest

from device_runtime.media.photo import PhotoError
from device_runtime.media.video_info import VideoError
from studio.media_library import MediaFile, MediaLibrary, Role, inspect_file, plain_name


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


def test_a_long_name_is_shortened_and_keeps_its_suffix() -> None:
    for name in ("ü" * 5000 + ".mp4", "ü" * 5000):
        assert len(plain_name(name).encode()) <= 255
    assert plain_name("a" * 5000 + ".mp4").endswith(".mp4")


@pytest.mark.parametrize("letter", ["a", "ü", "字", "🎞"])
def test_the_name_of_a_result_fits_the_file_system(street: Path, letter: str) -> None:
    with MediaLibrary() as library:
        name = plain_name(letter * 5000 + "." + letter * 300)
        files = [MediaFile(Path(name), "video", 1, 1), MediaFile(Path(name), "photo", 1, 1)]
        library.new_result(*files).write_bytes(b"done")


def test_half_characters_are_dropped() -> None:
    assert plain_name("\ud800a.mp4") == "a.mp4"


def test_a_new_file_replaces_the_last_one_and_its_result(street: Path, dusk: Path) -> None:
    with MediaLibrary() as library:
        for name in ("first.mp4", "second.mp4"):
            with library.upload(name) as path:
                path.write_bytes(street.read_bytes())
                source = library.put("source", inspect_file(path, "source"))
        with library.upload("dusk.jpg") as path:
            path.write_bytes(dusk.read_bytes())
            style = library.put("style", inspect_file(path, "style"))
        assert (source.kind, source.width, source.height, source.rate) == ("video", 320, 136, 25.0)
        out = library.new_result(source, style)
        out.write_bytes(b"done")
        library.result = out
        folder = out.parents[1]
        names = {path.name for path in folder.rglob("*") if path.is_file()}
        assert names == {"second.mp4", "dusk.jpg", "second-dusk.mp4"}
        with library.upload("third.mp4") as path:
            path.write_bytes(street.read_bytes())
            library.put("source", inspect_file(path, "source"))
        assert library.result is None
        assert not out.exists()
    assert not folder.exists()


def upload(library: MediaLibrary, role: Role, name: str) -> None:
    with library.upload(name) as path:
        path.write_text("neither a video nor a photo")
        library.put(role, inspect_file(path, role))


def test_refused_uploads_are_deleted() -> None:
    with MediaLibrary() as library:
        with pytest.raises(VideoError) as caught:
            upload(library, "source", "a.mp4")
        assert library.line(caught.value).startswith("a.mp4 ")
        with pytest.raises(PhotoError):
            upload(library, "style", "b.jpg")
        assert library.files == {}
        with library.upload("c") as path:
            assert list(path.parents[1].iterdir()) == [path.parent]
