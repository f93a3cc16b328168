"""The pack on an emulated phone whose shell runs arm64 programs, over the real adb client."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from device_runtime.bench import pipeline_results
from device_runtime.bench.adb import Phone
from device_runtime.bench.phone import read_record
from device_runtime.bench.push_pack import push_pack
from device_runtime.pack.pack import MAX_BYTES, Pack
from tests.arm64.qemu import downloaded_pack, find_qemu
from tests.device_runtime.bench.adb_daemon import EmulatedPhone
from tests.device_runtime.bench.android import emulate_arm64
from tests.device_runtime.bench.test_command_line import bench
from tests.device_runtime.clips import write_clip

STYLE = Path(__file__).parents[3] / "samples/dusk.jpg"

pytestmark = [pytest.mark.long, pytest.mark.xdist_group("arm64")]


@pytest.fixture(scope="module")
def pack(tmp_path_factory: pytest.TempPathFactory) -> Pack:
    return downloaded_pack(tmp_path_factory.mktemp("arm64") / "pack")


@pytest.fixture
def arm64_pixel(pixel: EmulatedPhone) -> EmulatedPhone:
    emulate_arm64(pixel.root, find_qemu())
    return pixel


def test_a_pack_is_small_and_for_any_page_size(pack: Pack) -> None:
    assert pack.bytes < MAX_BYTES == 250_000_000
    assert pack.page_size == 1 << 14


def test_a_pack_starts_through_adb_shell(arm64_pixel: EmulatedPhone, phone: Phone, pack: Pack) -> None:
    folder = push_pack(phone, read_record(phone), pack)
    done = phone.shell(f"sh {folder}/mvstylizer doctor --json", 120)
    assert done.exit_code == 0, done.stderr
    assert json.loads(done.stdout)["ready"]
    done = phone.shell(f"sh {folder}/python -c 'import sys; print(sys.prefix, sys.version_info[:2])'", 60)
    assert done.stdout == f"{folder}/interpreter (3, 11)\n"


@pytest.mark.server
@pytest.mark.parametrize("where", ["--local", "bundled Triton"])
def test_the_whole_pipeline(arm64_pixel: EmulatedPhone, pack: Pack, tmp_path: Path, where: str) -> None:
    clip = write_clip(tmp_path / "clip.mp4", range(8), size=(128, 64))
    out, plot = tmp_path / "rows.jsonl", tmp_path / "figure5.png"
    words = ["--pipeline", clip, "--style", STYLE, "--pack", pack.path, "--out", out, "--frames", "8"]
    words += ["--resolutions", "128x64", "--intervals", "1,4", "--cool-seconds", "0", "--plot", plot]
    words += ["--local"] if where == "--local" else []
    done = bench(*words)
    assert done.returncode == 0, done.stderr
    rows = pipeline_results.read(out)
    assert [row["verdict"] for row in rows] == ["valid"] * 2, done.stderr
    assert {row["config"]["where"] for row in rows} == {"local" if where == "--local" else "edge"}
    assert all(row["phone"]["emulated"] for row in rows)
    assert min(row["likeness"]["min_db"] for row in rows) >= 40
    assert all((row["bytes_received"] > 0) == (where != "--local") for row in rows)
    assert " ms" not in done.stdout
    assert plot.stat().st_size
    assert arm64_pixel.reversed == {}
    again = bench(*words, "--resume", "--json")
    assert again.returncode == 0, again.stderr
    assert json.loads(again.stdout)["rows"] == rows
    assert len(out.read_text().splitlines()) == 2
