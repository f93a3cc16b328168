from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from device_runtime.bench import results
from device_runtime.bench.adb import Phone
from device_runtime.bench.adb_errors import PhoneGoneError, PhoneStorageFullError
from device_runtime.bench.benchmark_model import BenchmarkModelError, NpuLibrary
from device_runtime.bench.plan import Config
from device_runtime.bench.run_settings import RunSettings
from device_runtime.bench.session import Session
from mvstylizer.bundle import Bundle, default_bundle, load_bundle
from tests.device_runtime.bench.adb_daemon import EmulatedPhone
from tests.device_runtime.bench.android import BIG_KHZ, behave, calls, set_battery

KEY_FRAME = Config("key_frame", 160, 90, "xnnpack", 2)
SHORT = RunSettings(
    repeats=1, runs=3, min_seconds=0, warmup_seconds=0, cool_seconds=0, profile=False, probe=False
)
TWICE = replace(SHORT, repeats=2)


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    return load_bundle(default_bundle("lite"))


@pytest.fixture
def measure(phone: Phone, pixel: EmulatedPhone, bundle: Bundle, stand_in: Path) -> Any:
    def rows(*plan: Config, settings: RunSettings = SHORT) -> list[dict[str, Any]]:
        return list(Session(phone, bundle, stand_in, settings).measure(plan))

    return rows


def test_each_kernel_runs_on_its_callers_input(measure: Any, pixel: EmulatedPhone) -> None:
    plan = [
        Config("warp", 512, 256, "cpu", 1),
        Config("transfer_accel", 512, 256, "gpu", 1),
        Config("look", 96, 96, "npu", 1),
    ]
    rows = measure(*plan)
    assert [row["verdict"] for row in rows] == ["valid"] * 3
    assert [row["parity"]["passed"] for row in rows] == [True] * 3
    assert [row["config"]["calls_per_frame"] for row in rows] == [6, 1, 1]
    flags = [(call["use_xnnpack"], call.get("use_gpu"), call.get("use_nnapi")) for call in calls(pixel.root)]
    cpu, gpu, npu = ("false", None, None), ("false", "true", None), ("false", None, "true")
    assert flags == [cpu, cpu, gpu, gpu, npu, npu]


def test_a_valid_row_is_complete(measure: Any, pixel: EmulatedPhone) -> None:
    behave(pixel.root, times_us=[1000, 1020])
    settings = replace(SHORT, repeats=3, runs=50, profile=True)
    (row,) = measure(KEY_FRAME, settings=settings)
    assert (row["schema"], row["verdict"], row["reasons"]) == ("mvstylizer.bench.device/1", "valid", [])
    latency = row["latency_us"]
    # Calls 2, 3 and 4 are the repeats, at 1000, 1020 and 1000 µs, each with 0 to 9 µs on top.
    assert [repeat["percentiles"]["p50"] for repeat in latency["repeats"]] == [1005, 1025, 1005]
    assert (latency["init"], latency["first"], latency["runs"]) == (4200, 2000, 150)
    assert (latency["p50"], latency["p95"], latency["min"], latency["max"]) == (1005, 1009, 1000, 1029)
    assert latency["mean"] == pytest.approx((1004.5 + 1024.5 + 1004.5) / 3)
    assert latency["p90"] is None  # benchmark_model prints none, and none is made up
    assert row["memory_mb"] == {"init": 3.5, "overall": 5.25, "peak": 17.75}
    assert row["delegation"]["share"] == "full"
    assert [operator["type"] for operator in row["profile"]] == ["GATHER", "TfLiteXNNPackDelegate"]
    assert row["config"]["affinity"] == "30"  # two of the four big cores
    assert (pixel.root / "masks").read_text().split() == ["30"] * 5
    assert len(row["states"]) == 4
    assert row["states"][0]["battery_c"] == 31.5
    assert row["phone"]["cores"][7] == {"number": 7, "max_khz": BIG_KHZ, "governor": "schedutil"}
    assert row["kernel_sha256"]
    json.dumps(row)

    # Profiling, outputs and the watch on memory slow the binary down: none of them in a latency run.
    check, *repeats, profile = calls(pixel.root)
    assert {"output_filepath", "report_peak_memory_footprint"} <= set(check)
    assert profile["enable_op_profiling"] == "true"
    for repeat in repeats:
        assert not set(repeat) & {"enable_op_profiling", "output_filepath", "report_peak_memory_footprint"}
        assert (repeat["num_runs"], repeat["num_threads"]) == ("50", "2")


def test_a_second_run_copies_nothing(measure: Any, pixel: EmulatedPhone) -> None:
    measure(KEY_FRAME)
    first = list(pixel.pushed)
    assert len(first) == 8  # the binary, the kernel and its six inputs
    measure(KEY_FRAME)
    assert pixel.pushed == first


def test_a_phone_that_gets_hot(measure: Any, pixel: EmulatedPhone) -> None:
    behave(pixel.root, hot_at_call=3, capped=[4, 5])
    (row,) = measure(KEY_FRAME, settings=TWICE)
    assert row["verdict"] == "throttled"
    assert row["reasons"] == [
        "thermal status 2",
        f"clock of core 4 was capped from {BIG_KHZ} to 1574400 kHz",
        f"clock of core 5 was capped from {BIG_KHZ} to 1574400 kHz",
    ]
    assert [state["thermal_status"] for state in row["states"]] == [0, 0, 2]


def test_a_phone_that_does_not_cool_down(measure: Any, pixel: EmulatedPhone) -> None:
    set_battery(pixel.root, 41.2)
    (row,) = measure(KEY_FRAME)
    assert (row["verdict"], row["reasons"]) == ("throttled", ["the phone did not cool down in time"])
    assert row["cooling"] == {"waited_s": 0, "cool": False}


def test_wrong_output_has_no_figures(measure: Any, pixel: EmulatedPhone) -> None:
    behave(pixel.root, off_by=40)
    (row,) = measure(Config("transfer_accel", 512, 256, "gpu", 1))
    assert row["verdict"] == "wrong"
    assert row["parity"]["differing"] == 1
    assert (row["latency_us"], row["frame_ms"], row["profile"]) == (None, None, [])
    assert len(calls(pixel.root)) == 1


@pytest.mark.parametrize(
    ("share", "reason"),
    [
        ("partial", "gpu took 21 of 34 nodes"),
        ("missing", "gpu took nothing"),  # a binary built without it warns of an unknown flag
    ],
)
def test_a_delegate_that_leaves_work_to_the_cpu(
    measure: Any, pixel: EmulatedPhone, share: str, reason: str
) -> None:
    behave(pixel.root, share={"GPU": share})
    (row,) = measure(Config("key_frame", 160, 90, "gpu", 1))
    assert (row["verdict"], row["reasons"]) == ("fallback", [reason])
    assert row["latency_us"]
    assert row["evidence"]


def test_a_delegate_that_fails_costs_its_row_only(measure: Any, pixel: EmulatedPhone) -> None:
    behave(pixel.root, share={"NNAPI": "error"})
    failed, valid = measure(Config("key_frame", 160, 90, "npu", 1), Config("key_frame", 160, 90, "cpu", 1))
    assert failed["verdict"] == "failed"
    assert failed["reasons"] == ["benchmark_model exits with 1: ERROR: Failed to apply NNAPI delegate."]
    assert failed["latency_us"] is None
    assert valid["verdict"] == "valid"


def test_repeats_that_disagree(measure: Any, pixel: EmulatedPhone) -> None:
    behave(pixel.root, times_us=[1000, 1500])
    (row,) = measure(KEY_FRAME, settings=TWICE)
    assert (row["verdict"], row["reasons"]) == ("noisy", ["medians of the repeats spread by 20%"])


def test_a_vendor_delegate_for_the_npu(
    phone: Phone, pixel: EmulatedPhone, bundle: Bundle, stand_in: Path, tmp_path: Path
) -> None:
    files = (tmp_path / "libDelegate.so", tmp_path / "libBackend.so")
    npu = NpuLibrary(files, "backend_type:htp")
    with pytest.raises(BenchmarkModelError, match=r"no NPU library at .*libDelegate\.so"):
        Session(phone, bundle, stand_in, SHORT, npu)
    for file in files:
        file.write_text(file.name)
    (row,) = Session(phone, bundle, stand_in, SHORT, npu).measure([KEY_FRAME._replace(delegate="npu")])
    assert (row["verdict"], row["delegation"]["share"]) == ("valid", "full")
    assert (row["npu"]["delegate"], row["npu"]["options"]) == ("libDelegate.so", "backend_type:htp")
    assert set(row["npu"]["sha256"]) == {"libDelegate.so", "libBackend.so"}
    flags = calls(pixel.root)[0]
    assert flags["external_delegate_options"] == "backend_type:htp"
    assert "use_nnapi" not in flags


def test_a_disconnect_keeps_earlier_rows(
    phone: Phone, pixel: EmulatedPhone, bundle: Bundle, stand_in: Path
) -> None:
    pixel.dies_at = "--use_gpu=true"
    rows = Session(phone, bundle, stand_in, SHORT).measure([KEY_FRAME, KEY_FRAME._replace(delegate="gpu")])
    assert next(rows)["verdict"] == "valid"
    with pytest.raises(PhoneGoneError, match="disconnected"):
        next(rows)


def test_a_full_phone(phone: Phone, pixel: EmulatedPhone, bundle: Bundle, stand_in: Path) -> None:
    pixel.free_bytes = 20_000  # the binary fits, the kernel does not
    session = Session(phone, bundle, stand_in, SHORT)
    with pytest.raises(PhoneStorageFullError, match="No space left on phone"):
        next(session.measure([KEY_FRAME]))


def test_a_binary_for_another_machine(
    phone: Phone, pixel: EmulatedPhone, bundle: Bundle, tmp_path: Path
) -> None:
    head = b"\x7fELF\x02\x01\x01" + bytes(11)
    (tmp_path / "arm").write_bytes(head + b"\xb7\0" + bytes(44))  # arm64, but damaged
    with pytest.raises(BenchmarkModelError, match=r"arm64-v8a\) cannot run the binary.*docs/phone\.md"):
        Session(phone, bundle, tmp_path / "arm", SHORT)
    for number, name in ((62, "x86-64"), (40, r"arm \(32 bits\)")):
        (tmp_path / "other").write_bytes(head + bytes([number, 0]) + bytes(44))
        with pytest.raises(BenchmarkModelError, match=rf"is for {name}, and the phone is arm64-v8a"):
            Session(phone, bundle, tmp_path / "other", SHORT)


def test_a_binary_that_is_another_program(
    phone: Phone, pixel: EmulatedPhone, bundle: Bundle, tmp_path: Path
) -> None:
    (tmp_path / "other").write_text("#!/bin/sh\necho I bench nothing")
    with pytest.raises(BenchmarkModelError, match=r"neither TFLite's .* nor LiteRT's .*: I bench nothing"):
        Session(phone, bundle, tmp_path / "other", SHORT)
    with pytest.raises(BenchmarkModelError, match="no benchmark_model at"):
        Session(phone, bundle, tmp_path / "nothing", SHORT)


def test_a_graph_that_the_bundle_lacks_costs_its_rows_only(measure: Any) -> None:
    absent, valid = measure(Config("warp_accel", 640, 360, "gpu", 1), KEY_FRAME)
    assert (absent["verdict"], absent["latency_us"]) == ("failed", None)
    assert "no warp_accel_640x360" in absent["reasons"][0]
    assert valid["verdict"] == "valid"


def test_the_gpus_own_warp_keeps_float32(measure: Any, pixel: EmulatedPhone) -> None:
    """Half precision would round its coordinates. The stand-in, without that operator, refuses to load it."""
    behave(pixel.root, share={"GPU": "error"})
    (row,) = measure(Config("warp_gpu", 512, 256, "gpu", 1))
    assert row["verdict"] == "failed"
    assert calls(pixel.root)[0]["gpu_precision_loss_allowed"] == "false"


@pytest.fixture
def measure_litert(phone: Phone, pixel: EmulatedPhone, bundle: Bundle, litert_stand_in: Path) -> Any:
    def rows(*plan: Config, npu: NpuLibrary | None = None) -> list[dict[str, Any]]:
        return list(Session(phone, bundle, litert_stand_in, SHORT, npu).measure(plan))

    return rows


def test_litert_measures_without_comparing(measure_litert: Any, pixel: EmulatedPhone) -> None:
    (row,) = measure_litert(Config("transfer_accel", 512, 256, "gpu", 1))
    assert row["tool"]["name"] == "litert"
    assert (row["verdict"], row["reasons"]) == ("unchecked", ["the tool writes no outputs to compare"])
    assert (row["delegation"]["share"], row["parity"]) == ("full", None)
    assert (row["latency_us"]["p50"], row["latency_us"]["init"], row["latency_us"]["first"]) == (
        1001,
        4200,
        2000,
    )
    assert row["memory_mb"] == {"init": 3.5, "overall": 5.25, "peak": 17.75}
    first, *repeats = calls(pixel.root)
    assert (first["use_cpu"], first["use_gpu"], first["require_full_delegation"]) == ("false", "true", "true")
    assert all("require_full_delegation" not in call for call in repeats)


def test_litert_with_a_graph_that_the_accelerator_takes_in_part(
    measure_litert: Any, pixel: EmulatedPhone
) -> None:
    behave(pixel.root, partial=["gpu"])
    (row,) = measure_litert(Config("key_frame", 160, 90, "gpu", 1))
    assert (row["verdict"], row["delegation"]["share"]) == ("fallback", "partial")


def test_what_litert_cannot_do_is_said_in_the_row(measure_litert: Any) -> None:
    resized, plain = measure_litert(Config("warp", 512, 256, "xnnpack", 1), Config("look", 96, 96, "cpu", 1))
    assert resized["verdict"] == plain["verdict"] == "failed"
    assert "cannot resize" in resized["reasons"][0]
    assert "XNNPACK" in plain["reasons"][0]


def test_compiled_graphs_run_through_litert(
    measure_litert: Any, phone: Phone, bundle: Bundle, stand_in: Path, pixel: EmulatedPhone, tmp_path: Path
) -> None:
    library = tmp_path / "libLiteRtDispatch_Qualcomm.so"
    library.write_text("library")
    compiled = tmp_path / "compiled"
    compiled.mkdir()
    source = bundle.file("transfer_accel_512x256").read_bytes()
    (compiled / "transfer_accel_512x256_SM8650.tflite").write_bytes(source)
    npu = NpuLibrary((library,), graphs=compiled, soc="SM8650")
    row, absent = measure_litert(
        Config("transfer_accel", 512, 256, "npu", 1), Config("key_frame", 160, 90, "npu", 1), npu=npu
    )
    assert (row["verdict"], row["delegation"]["share"]) == ("unchecked", "full")
    assert calls(pixel.root)[0]["graph"].endswith("/transfer_accel_512x256_SM8650.tflite")
    assert absent["reasons"] == ["there is no key_frame_SM8650.tflite among the compiled graphs"]
    with pytest.raises(BenchmarkModelError, match="TFLite's benchmark_model, which cannot run compiled"):
        Session(phone, bundle, stand_in, SHORT, npu)


def test_a_probe_notices_a_phone_that_slows_down(measure: Any, pixel: EmulatedPhone) -> None:
    """Android reports nothing, but the same small kernel takes longer after the row than before."""
    # A call takes the time of its number from 1, modulo 5: probe, check, repeat, probe.
    behave(pixel.root, times_us=[0, 1000, 1000, 1000, 1303])
    (row,) = measure(KEY_FRAME, settings=replace(SHORT, probe=True))
    assert (row["verdict"], row["reasons"]) == (
        "throttled",
        ["a probe kernel runs 30% slower than at the start"],
    )


def test_a_charger_is_judged(measure: Any, pixel: EmulatedPhone) -> None:
    listing = pixel.root / "system/dumpsys-battery.txt"
    listing.write_text(listing.read_text().replace("Wireless powered: false", "Wireless powered: true"))
    listing.write_text(listing.read_text().replace("USB powered: true", "USB powered: false"))
    (row,) = measure(KEY_FRAME)
    assert (row["verdict"], row["reasons"]) == (
        "charging",
        ["the phone charges (wireless), which heats it"],
    )


def test_threads_are_pinned_to_a_cluster(measure: Any, pixel: EmulatedPhone) -> None:
    (row,) = measure(KEY_FRAME, settings=replace(SHORT, cores="little"))
    assert (row["config"]["affinity"], row["config"]["cores"]) == ("3", "little")


def test_a_sustained_row_has_its_minutes(
    measure: Any, pixel: EmulatedPhone, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("device_runtime.bench.sustained._MINUTE_S", 0.01)
    (row,) = measure(KEY_FRAME, settings=replace(SHORT, sustain_minutes=2))
    assert [minute["minute"] for minute in row["sustained"]] == [1, 2]
    assert {minute["p50"] for minute in row["sustained"]} == {1000}
    assert row["sustained"][0]["battery_ma"] == -412.0
    text = results.markdown([row])
    assert "| key_frame 160x90 xnnpack 2 | 2 | 1.000 | 1.000 | 31.5 | 33.7 | -412.0 | 1056.0 |" in text
