from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import click
import pytest

from device_runtime.bench import results
from device_runtime.bench.adb import Adb
from mvstylizer_cli import main as cli
from tests.device_runtime.bench.adb_daemon import EmulatedPhone
from tests.device_runtime.bench.android import behave, make_pixel_2
from tests.device_runtime.bench.conftest import Connect

QUICK = [
    "--no-probe",
    "--repeats",
    "1",
    "--runs",
    "3",
    "--min-seconds",
    "0",
    "--warmup-seconds",
    "0",
    "--no-profile",
]
ONE_ROW = [*QUICK, "--kernels", "key_frame", "--delegates", "cpu", "--threads", "1"]


def bench(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    words = ["bench", "device", *map(str, arguments)]
    program = f"import sys, mvstylizer_cli.main as cli; sys.argv = ['mvstylizer', *{words}]; cli.main()"
    command, root = [sys.executable, "-c", program], Path(__file__).parents[3]
    return subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    return tmp_path / "rows.jsonl"


def test_without_a_phone_there_is_one_clear_line(adb: Adb, stand_in: Path, rows: Path) -> None:
    done = bench("--benchmark-bin", stand_in, "--out", rows)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == ("mvstylizer: No phone is connected. Connect one with USB debugging enabled\n")
    assert not rows.exists()


def test_without_adb_there_is_one_clear_line(tmp_path: Path) -> None:
    done = bench("--adb", tmp_path / "adb")
    assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (1, "", 1)
    assert "No adb program" in done.stderr
    assert json.loads(bench("--adb", tmp_path / "adb", "--json").stdout)["error"].startswith("No adb program")


def test_without_the_binary_the_error_says_where_to_get_it(pixel: EmulatedPhone) -> None:
    done = bench("--serial", pixel.serial)
    assert (done.returncode, len(done.stderr.splitlines())) == (1, 1)
    assert "docs/phone.md" in done.stderr


def test_two_phones_without_a_serial(connect: Connect, stand_in: Path) -> None:
    connect("first"), connect("second")
    done = bench("--benchmark-bin", stand_in)
    assert done.returncode == 1
    assert "Several phones are connected" in done.stderr


def test_rows_table_and_comparison(pixel: EmulatedPhone, stand_in: Path, rows: Path) -> None:
    done = bench("--benchmark-bin", stand_in, "--out", rows, *ONE_ROW)
    assert done.returncode == 0, done.stderr
    figures = "4.200 | 2.000 | 1.001 | 1.001 | 1.002 | 1.0 | 17.8 | valid |"
    assert f"| key_frame | 160x90 | cpu | 1 | {figures}" in done.stdout
    assert "1/1  key_frame 160x90 cpu, 1 thread: valid" in done.stderr
    behave(pixel.root, times_us=[1200])
    plot = rows.with_suffix(".png")
    more = ["--compare", rows, "--plot", plot, "--json"]
    again = bench("--benchmark-bin", stand_in, "--out", rows, *more, *ONE_ROW)
    (answer,) = [json.loads(line) for line in again.stdout.splitlines()]
    assert answer["rows"][0]["latency_us"]["p50"] == 1201
    (change,) = answer["changes"]
    assert (change["before"], change["now"], change["meaning"]) == (1001, 1201, "slower")
    assert len(rows.read_text().splitlines()) == 2
    assert results.read(rows) == answer["rows"]
    assert plot.stat().st_size


def test_rows_measured_before_a_disconnect_are_kept(pixel: EmulatedPhone, stand_in: Path, rows: Path) -> None:
    pixel.dies_at = "--use_gpu=true"
    done = bench("--benchmark-bin", stand_in, "--out", rows, *ONE_ROW, "--delegates", "cpu,gpu")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.splitlines()[-1] == (
        f"mvstylizer: Phone {pixel.serial} disconnected. Check the cable and try again"
    )
    assert [results.config_key(row) for row in results.read(rows)] == ["key_frame 160x90 cpu 1"]


def test_a_slower_row_fails_the_command(pixel: EmulatedPhone, stand_in: Path, rows: Path) -> None:
    first = ["--benchmark-bin", stand_in, "--out", rows, *ONE_ROW]
    assert bench(*first).returncode == 0
    behave(pixel.root, times_us=[1200])
    junit = rows.with_suffix(".xml")
    done = bench("--benchmark-bin", stand_in, "--out", rows.with_stem("after"), *ONE_ROW,
                 "--compare", rows, "--fail-over", "5%", "--junit", junit)  # fmt: skip
    assert done.returncode == 1
    assert "| key_frame 160x90 cpu 1 | 1.001 | 1.201 | 1.20 | slower |" in done.stdout
    assert "20% slower than before" in junit.read_text()


@pytest.mark.long
def test_a_run_resumes_at_the_next_row_and_restores_the_phone(
    connect: Connect, pixel: EmulatedPhone, stand_in: Path, rows: Path
) -> None:
    both = ["--benchmark-bin", stand_in, "--out", rows, *ONE_ROW, "--delegates", "cpu,xnnpack", "--resume"]
    assert bench(*both[:-3], "--delegates", "cpu").returncode == 0
    before = len(pixel.commands)
    done = bench(*both, "--json")
    assert done.returncode == 0, done.stderr
    assert [results.config_key(row) for row in json.loads(done.stdout)["rows"]] == [
        "key_frame 160x90 cpu 1",
        "key_frame 160x90 xnnpack 1",
    ]
    assert not any("--use_xnnpack=false" in command for command in pixel.commands[before:])
    assert (pixel.root / "system/fixed-performance").read_text().split()[-1] == "false"


@pytest.mark.long
def test_several_phones_have_a_file_each(connect: Connect, stand_in: Path, rows: Path) -> None:
    phones = [connect("first"), connect("second")]
    for each in phones:
        make_pixel_2(each.root)
    serials = [word for each in phones for word in ("--serial", each.serial)]
    done = bench("--benchmark-bin", stand_in, "--out", rows, *ONE_ROW, *serials, "--json")
    assert done.returncode == 0, done.stderr
    documents = json.loads(done.stdout)["phones"]
    files = [Path(document["out"]) for document in documents]
    assert len({file.name for file in files}) == 2
    assert [len(results.read(file)) for file in files] == [1, 1]
    phones[1].dies_at = "--use_gpu=true"
    gpu = bench("--benchmark-bin", stand_in, "--out", rows, *ONE_ROW, *serials, "--delegates", "gpu")
    assert gpu.returncode == 1
    assert "disconnected" in gpu.stderr
    assert [len(results.read(file)) for file in files] == [2, 1]


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("--kernels", "wrap"),
        ("--delegates", "tpu"),
        ("--resolutions", "512"),
        ("--resolutions", "0x4"),
        ("--threads", "two"),
        ("--repeats", "0"),
        ("--fail-over", "5%"),
        ("--npu", "snapdragon-9"),
        ("--pipeline", "none.mp4"),
    ],
)
def test_wrong_usage(option: str, value: str) -> None:
    with pytest.raises(click.UsageError) as caught:
        cli.app(["bench", "device", option, value], standalone_mode=False)
    assert option in caught.value.format_message()
