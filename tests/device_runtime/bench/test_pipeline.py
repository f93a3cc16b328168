"""The pipeline on an emulated phone that runs this machine's programs; `test_pipeline_arm64` runs arm64."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from device_runtime.bench import pipeline_results
from device_runtime.bench.adb import Phone
from device_runtime.bench.adb_errors import AdbError, PhoneGoneError, PhoneStorageFullError
from device_runtime.bench.phone import read_record
from device_runtime.bench.pipeline_run import (
    PipelineConfig,
    PipelineFailedError,
    compare_videos,
    scaled_clip,
)
from device_runtime.bench.pipeline_session import PipelineSession, PipelineSettings
from device_runtime.bench.push_pack import push_pack
from device_runtime.pack.pack import Pack
from tests.device_runtime.bench.adb_daemon import EmulatedPhone
from tests.device_runtime.bench.android import set_battery, set_property
from tests.device_runtime.clips import write_clip

STYLE = Path(__file__).parents[3] / "samples/dusk.jpg"
CONFIG = PipelineConfig(128, 64, 4, "transfer")
SETTINGS = PipelineSettings(frames=8, cool_seconds=0)


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    return write_clip(tmp_path / "clip.mp4", range(8), size=(160, 96))


def test_a_run_is_compared_recorded_and_leaves_only_the_pack(
    phone: Phone, pixel: EmulatedPhone, host_pack: Pack, clip: Path
) -> None:
    set_battery(pixel.root, 33.0)
    with PipelineSession(phone, host_pack, clip, STYLE, edge=None, settings=SETTINGS) as session:
        (row,) = session.measure([CONFIG])
        assert session.matching([row]) == [row]
        assert session.matching([row | {"clip_sha256": "0"}, row | {"verdict": "failed"}]) == []
    assert (row["verdict"], row["reasons"]) == ("valid", [])
    assert (row["frames"], row["key_frames"]) == (8, 2)
    assert set(row["seconds"]) == {"decode", "key_frames", "edge", "flow", "interpolate", "encode", "total"}
    assert row["likeness"]["min_db"] > 100  # the same machine, so equal frames
    assert row["usage"]["peak_mb"] > 50
    sent = sum(path.stat().st_size for path in pixel.path("/data/local/tmp/mvstylizer-bench").iterdir())
    assert row["adb_bytes"]["pushed"] == sent
    assert row["adb_bytes"]["pulled"] > 1000
    assert [state["battery_c"] for state in row["states"]] == [33.0, 33.0]
    folder = pixel.path("/data/local/tmp")
    assert sorted(path.name for path in folder.iterdir()) == [
        "mvstylizer-abababababababab",
        "mvstylizer-bench",
    ]
    assert {path.name for path in (folder / "mvstylizer-bench").iterdir()} == {"clip.mp4", "style.jpg"}
    text = pipeline_results.markdown([row])
    assert "| 128x64 | transfer | 4 |" in text
    json.dumps(row)


def test_a_pack_is_copied_once(phone: Phone, pixel: EmulatedPhone, host_pack: Pack) -> None:
    record = read_record(phone)
    first = push_pack(phone, record, host_pack)
    assert pixel.path(f"{first}/python").is_file()
    assert push_pack(phone, record, host_pack) == first
    assert len(pixel.pushed) == 1
    assert push_pack(phone, record, replace(host_pack, content="cd" * 32)) != first


def test_a_phone_without_space_is_left_as_it_was(phone: Phone, pixel: EmulatedPhone, host_pack: Pack) -> None:
    with pytest.raises(PhoneStorageFullError, match=r"MB free, and the pack needs 2000000000000000"):
        push_pack(phone, read_record(phone), replace(host_pack, bytes=10**21))
    pixel.free_bytes = 10
    with pytest.raises(PhoneStorageFullError, match="No space left"):
        push_pack(phone, read_record(phone), host_pack)
    assert list(pixel.path("/data/local/tmp").iterdir()) == []


def test_a_phone_that_cannot_run_the_pack(phone: Phone, pixel: EmulatedPhone, host_pack: Pack) -> None:
    record = read_record(phone)
    large = replace(record, page_size=1 << 16)
    with pytest.raises(AdbError, match="pages of 64 kB, and the pack supports 16"):
        push_pack(phone, large, host_pack)
    set_property(pixel.root, "ro.product.cpu.abi", "armeabi-v7a")
    with pytest.raises(AdbError, match="runs armeabi-v7a programs, and the pack is for arm64-v8a"):
        push_pack(phone, read_record(phone), host_pack)
    assert pixel.pushed == []


def test_a_refused_reverse_leaves_nothing(
    phone: Phone, pixel: EmulatedPhone, host_pack: Pack, clip: Path
) -> None:
    pixel.allows_reverse = False
    session = PipelineSession(phone, host_pack, clip, STYLE, edge="127.0.0.1:8001", settings=SETTINGS)
    with pytest.raises(AdbError, match="refuses adb reverse"), session:
        pass
    assert pixel.reversed == {}


def test_a_run_that_fails_on_the_phone_costs_its_row_only(
    phone: Phone, pixel: EmulatedPhone, host_pack: Pack, clip: Path
) -> None:
    text = '#!/bin/sh\necho "mvstylizer: cannot decode. Try again" >&2\nfalse\n'
    (host_pack.path / "python").write_text(text)
    with PipelineSession(phone, host_pack, clip, STYLE, edge=None, settings=SETTINGS) as session:
        (row,) = session.measure([CONFIG])
    assert row["verdict"] == "failed"
    assert row["reasons"] == ["stylize fails on the phone: cannot decode. Try again"]
    assert "| failed |" in pipeline_results.markdown([row])


def test_a_disconnect_during_a_run(phone: Phone, pixel: EmulatedPhone, host_pack: Pack, clip: Path) -> None:
    pixel.dies_at = "on_phone"
    session = PipelineSession(phone, host_pack, clip, STYLE, edge=None, settings=SETTINGS)
    with pytest.raises(PhoneGoneError, match="disconnected"), session:
        list(session.measure([CONFIG]))


def test_a_clip_is_cut_to_shape_and_length(clip: Path, tmp_path: Path) -> None:
    scaled = scaled_clip(clip, (64, 64), 5, tmp_path / "scaled.mp4")
    with av.open(str(scaled)) as found, av.open(str(clip)) as source:
        pictures = [frame.to_ndarray(format="rgb24") for frame in found.decode(video=0)]
        whole = next(source.decode(video=0)).to_ndarray(format="rgb24")
    assert [picture.shape for picture in pictures] == [(64, 64, 3)] * 5
    middle = whole[:, 32:128].reshape(32, 3, 32, 3, 3).mean((1, 3))  # 96×96 from the middle, in thirds
    ours = pictures[0].reshape(32, 2, 32, 2, 3).mean((1, 3))
    assert np.abs(middle - ours).mean() < 3
    (tmp_path / "text.mp4").write_text("no video")
    with pytest.raises(PipelineFailedError, match=r"text\.mp4 cannot be read"):
        scaled_clip(tmp_path / "text.mp4", (64, 64), 5, tmp_path / "other.mp4")


def test_videos_are_compared_frame_by_frame(clip: Path, tmp_path: Path) -> None:
    assert compare_videos(clip, clip) == (8, pytest.approx(148, abs=1), pytest.approx(148, abs=1))
    shorter = write_clip(tmp_path / "shorter.mp4", range(7), size=(160, 96))
    with pytest.raises(PipelineFailedError, match="other frames"):
        compare_videos(shorter, clip)


def row_of(interval: int, total: float, **others: Any) -> dict[str, Any]:
    parts = ("decode", "key_frames", "edge", "flow", "interpolate", "encode")
    row = {
        "schema": pipeline_results.SCHEMA,
        "config": {"resolution": [512, 256], "interval": interval, "interpolation": "warp", "where": "edge"},
        "frames": 10,
        "seconds": {**dict.fromkeys(parts, 0.1), "flow": 0.5, "total": total},
        "states": [{"battery_c": 31.5}],
        "usage": {"peak_mb": 300.0},
        "bytes_sent": 12_000,
        "likeness": {"min_db": 51.25},
        "phone": {"model": "Pixel", "soc": "x", "android": "16", "emulated": False},
        "verdict": "valid",
    }
    return row | others


def test_table_2_and_figure_5_of_a_phone(tmp_path: Path) -> None:
    rows = [row_of(1, 8.0), row_of(5, 2.0), row_of(15, 1.0), row_of(30, 0.1, verdict="wrong")]
    assert pipeline_results.figure5(rows) == {"512x256 warp": {5: 4.0, 15: 8.0}}
    text = pipeline_results.markdown(rows)
    assert (
        "| 512x256 | warp | 5 | 10.0 | 10.0 | 10.0 | 50.0 | 10.0 | 10.0 | 200.0 | 300 | 12 | 31.5 |" in text
    )
    assert "| 512x256 warp | 4.00 | 8.00 |" in text
    pipeline_results.save_plot(rows, tmp_path / "figure5.svg")
    assert "speed-up" in (tmp_path / "figure5.svg").read_text()


def test_an_emulated_phone_has_shares_but_no_times() -> None:
    text = pipeline_results.markdown([row_of(5, 2.0, phone={"emulated": True})])
    assert "| 512x256 | warp | 5 | 10 | 10 | 10 | 50 | 10 | 10 | 300 |" in text
    assert " ms" not in text
    assert "shares" in text
