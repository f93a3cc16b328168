from __future__ import annotations

import pytest

from device_runtime.bench.adb import Phone
from device_runtime.bench.phone import (
    Core,
    PhoneRecord,
    affinity_mask,
    read_record,
    read_state,
    wait_until_cool,
)
from tests.device_runtime.bench.adb_daemon import EmulatedPhone
from tests.device_runtime.bench.android import BIG_KHZ, LITTLE_KHZ, PROPERTIES, set_battery


def test_phone_properties(phone: Phone, pixel: EmulatedPhone) -> None:
    record = read_record(phone)
    assert (record.model, record.soc, record.abi) == ("Google Pixel 2", "msm8998", "arm64-v8a")
    assert (record.android, record.sdk) == ("11", "30")
    assert record.fingerprint == PROPERTIES["ro.build.fingerprint"]
    assert record.memory_kb == 3723040
    assert record.cpu_features == ("fp", "asimd", "evtstrm", "aes", "crc32")
    assert record.cores[0] == Core(0, LITTLE_KHZ, "schedutil")
    assert record.cores[7] == Core(7, BIG_KHZ, "schedutil")
    assert phone.serial not in str(record)


def test_a_newer_phone_names_its_soc(phone: Phone, pixel: EmulatedPhone) -> None:
    listing = pixel.root / "system/getprop.txt"
    listing.write_text(listing.read_text() + "[ro.soc.model]: [Tensor G3]\n")
    assert read_record(phone).soc == "Tensor G3"


def test_phone_state(phone: Phone, pixel: EmulatedPhone) -> None:
    state = read_state(phone)
    assert (state.battery_percent, state.battery_c, state.powered) == (87, 31.5, True)
    assert state.thermal_status == 0
    assert state.clocks_khz[4] == 1056000
    assert state.ceilings_khz == {
        0: LITTLE_KHZ,
        1: LITTLE_KHZ,
        2: LITTLE_KHZ,
        3: LITTLE_KHZ,
        4: BIG_KHZ,
        5: BIG_KHZ,
        6: BIG_KHZ,
        7: BIG_KHZ,
    }
    assert state.zones_c == {"battery": 31.5}


def test_a_phone_that_reports_nothing(phone: Phone, emulated: EmulatedPhone) -> None:
    record, state = read_record(phone), read_state(phone)
    assert (record.model, record.cores, record.cpu_features) == ("", (), ())
    assert record.big_cores(4) == ()
    assert (state.battery_c, state.thermal_status, state.powered) == (None, None, None)
    assert wait_until_cool(phone, below_c=35, seconds=100).cool


def test_waits_until_the_phone_is_cool(phone: Phone, pixel: EmulatedPhone) -> None:
    temperatures = iter([36.0, 34.9])
    set_battery(pixel.root, 38.0)
    cooling = wait_until_cool(
        phone, below_c=35, seconds=60, poll_s=5, sleep=lambda _: set_battery(pixel.root, next(temperatures))
    )
    assert (cooling.waited_s, cooling.cool, cooling.state.battery_c) == (10, True, 34.9)


def test_waits_for_androids_thermal_status_and_times_out(phone: Phone, pixel: EmulatedPhone) -> None:
    (pixel.root / "system/dumpsys-thermalservice.txt").write_text("Thermal Status: 1\n")
    slept: list[float] = []
    cooling = wait_until_cool(phone, below_c=35, seconds=12, poll_s=5, sleep=slept.append)
    assert (cooling.waited_s, cooling.cool, slept) == (15, False, [5, 5, 5])


@pytest.mark.parametrize(
    ("clocks", "threads", "mask"),
    [
        ([1900] * 4 + [2457] * 4, 1, "f0"),
        ([1900] * 4 + [2457] * 4, 4, "f0"),
        ([1803] * 4 + [2253] * 2 + [2802] * 2, 1, "c0"),
        ([1803] * 4 + [2253] * 2 + [2802] * 2, 4, "f0"),
        ([2016] * 4, 2, "f"),
        ([2457] * 4 + [1900] * 4, 2, "f"),
    ],
)
def test_big_cores(clocks: list[int], threads: int, mask: str) -> None:
    cores = tuple(Core(number, clock, "schedutil") for number, clock in enumerate(clocks))
    record = PhoneRecord("", "", "", "", "", "", "", 0, (), cores)
    assert affinity_mask(record.big_cores(threads)) == mask
