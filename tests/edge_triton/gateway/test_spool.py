"""The spool: limits, atomic files, and deletion on request."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_triton.client.client import EdgeClient
from edge_triton.gateway.spool import Spool, SpoolError
from mvstylizer.bundle import Bundle

StartEdge = Callable[..., Any]
NoRoom = Callable[[int], AbstractContextManager[None]]
CODE = np.array([0.2, 0.5, 0.8], np.float32)


def image(seed: int, size: int = 16) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (size, size, 3)).astype(np.uint8)


def files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


@settings(deadline=None, max_examples=30)
@given(
    st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 5), st.integers(0, 40)), max_size=25),
    st.integers(0, 8000),
)
def test_limits_hold_and_the_newest_files_stay(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, int, int]], room: int
) -> None:
    folder = tmp_path_factory.mktemp("spool")
    now = [1e9]
    spool = Spool(folder, max_bytes=room, max_age_s=100, clock=lambda: now[0])
    for client, seed, pause in steps:
        now[0] += pause
        spool.put("frames", client, image(seed))
        left = files(folder)
        assert spool.bytes == sum(path.stat().st_size for path in left) <= room
        assert all(now[0] - int(path.name.split("-")[1]) / 1000 <= 100 for path in left)
    again = Spool(folder, max_bytes=room, max_age_s=100, clock=lambda: now[0])
    assert again.bytes == spool.bytes
    before = files(folder)
    again.forget("a")
    assert again.bytes == sum(path.stat().st_size for path in files(folder))
    again.forget("b")
    again.forget("c")
    assert files(folder) == []
    assert again.bytes == 0
    if before:
        again.put("styles", "a", image(0))
        now[0] += 101
        again.shrink()
        assert files(folder) == []


def test_files_contain_the_image_and_no_client_name(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    smooth = cv2.GaussianBlur(image(1, 64), (0, 0), 4)
    spool.put("frames", "phone-1", smooth)
    spool.put("frames", "phone-1", smooth)  # stored once
    spool.put("frames", "phone-2", smooth)
    spool.put("styles", "phone-1", smooth)
    assert [len(files(tmp_path / kind)) for kind in ("frames", "styles")] == [2, 1]
    assert not any("phone" in path.name for path in files(tmp_path))
    read = cv2.cvtColor(cv2.imread(str(files(tmp_path)[0])), cv2.COLOR_BGR2RGB)
    assert np.abs(read.astype(int) - smooth).mean() < 3


def test_partial_files_of_a_crash_are_removed(tmp_path: Path) -> None:
    Spool(tmp_path).put("frames", "a", image(0))
    (tmp_path / "frames" / "half.part").write_bytes(b"half")
    assert Spool(tmp_path).bytes == files(tmp_path)[0].stat().st_size
    assert [path.suffix for path in files(tmp_path)] == [".jpg"]


def test_error_names_an_unusable_folder(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(SpoolError, match="file"):
        Spool(tmp_path / "file")


def test_full_disk_leaves_no_partial_file(tmp_path: Path, no_room: NoRoom) -> None:
    spool = Spool(tmp_path)
    spool.put("frames", "a", image(0))
    before, size = files(tmp_path), spool.bytes
    with no_room(1000), pytest.raises(OSError, match="File too large"):
        spool.put("frames", "a", image(1, 200))
    assert files(tmp_path) == before
    assert spool.bytes == size
    spool.put("frames", "a", image(1, 200))
    assert len(files(tmp_path)) == 2


@pytest.mark.server
def test_full_disk_fails_no_request(
    start_edge: StartEdge,
    bundle: Bundle,
    tmp_path: Path,
    no_room: NoRoom,
) -> None:
    failed = "mvstylizer_spool_failures_total"
    with (
        start_edge(bundle, spool=tmp_path) as running,
        EdgeClient(running.edge.address, keep_for_training=True) as client,
    ):
        with no_room(1000):
            assert client.stylize(image(1, 100), CODE).image is not None
        assert files(tmp_path) == []
        assert f"{failed} 1.0" in running.edge.metrics.text().splitlines()
        assert client.stylize(image(1, 100), CODE).image is not None
        assert len(files(tmp_path)) == 1


@pytest.mark.server
def test_clients_opt_in_and_out(start_edge: StartEdge, bundle: Bundle, tmp_path: Path) -> None:
    tokens = tmp_path / "tokens"
    tokens.write_text("one 0123456789abcdef\ntwo fedcba9876543210\nthree 00112233445566778899\n")
    folder = tmp_path / "spool"

    def use(address: str, token: str, **options: Any) -> None:
        with EdgeClient(address, token=token, **options) as client:
            client.encode_style(image(1))
            client.stylize(image(2), CODE)

    with start_edge(bundle, token_file=tokens, spool=folder) as running:
        address = running.edge.address
        use(address, "00112233445566778899")
        assert files(folder) == []
        use(address, "0123456789abcdef", keep_for_training=True)
        assert len(files(folder)) == 2
        use(address, "fedcba9876543210", keep_for_training=True, jpeg_quality=90)
        assert len(files(folder)) == 4
        for token, left in (("00112233445566778899", 4), ("0123456789abcdef", 2), ("fedcba9876543210", 0)):
            with EdgeClient(address, token=token) as client:
                client.forget_me()
            assert len(files(folder)) == left


def test_only_the_user_can_read(tmp_path: Path) -> None:
    folder = tmp_path / "new"
    Spool(folder).put("frames", "a", image(1))
    for path in (folder, folder / "frames", folder / "styles"):
        assert path.stat().st_mode & 0o777 == 0o700
    (stored,) = files(folder)
    assert stored.stat().st_mode & 0o777 == 0o600
    stored.chmod(0o644)  # of an older version
    Spool(folder)
    assert stored.stat().st_mode & 0o777 == 0o600


def test_foreign_files_are_left_alone(tmp_path: Path) -> None:
    Spool(tmp_path).put("frames", "a", image(1))
    size = Spool(tmp_path).bytes
    foreign = [
        tmp_path / "frames" / name for name in ("a-b-c.jpg", "x-9999999999999999999-y.jpg", "README", ".jpg")
    ]
    for path in foreign:
        path.write_text("mine")
    (tmp_path / "frames" / "folder.part").mkdir()
    (tmp_path / "frames" / f"{16 * 'a'}-{14 * '1'}-{16 * 'b'}.jpg").symlink_to("/etc/passwd")
    spool = Spool(tmp_path, max_age_s=0.001)
    assert spool.bytes == size
    time.sleep(0.01)  # names have milliseconds
    spool.shrink()
    assert all(path.read_text() == "mine" for path in foreign)
    assert spool.bytes == 0
