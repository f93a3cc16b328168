from __future__ import annotations

import os

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
    assert record.page_size == os.sysconf("SC_PAGE_SIZE")
    assert not record.emulated
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
    assert (state.skin_c, state.headroom, state.battery_ma, state.charger) == (33.7, 0.62, -412.0, "usb")


def test_a_phone_that_reports_nothing(phone: Phone, emulated: EmulatedPhone) -> None:
    record, state = read_record(phone), read_state(phone)
    assert (record.model, record.cores, record.cpu_features) == ("", (), ())
    assert record.big_cores(4) == ()
    assert (state.battery_c, state.thermal_status, state.powered) == (None, None, None)
    assert (state.skin_c, state.headroom, state.battery_ma, state.charger) == (None, None, None, "")
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
        ([1900] * 4 + [2457] * 4, 1, "10"),
        ([1900] * 4 + [2457] * 4, 4, "f0"),
        ([1803] * 4 + [2253] * 2 + [2802] * 2, 1, "40"),
        ([1803] * 4 + [2253] * 2 + [2802] * 2, 4, "f0"),
        ([2016] * 4, 2, "3"),
        ([2457] * 4 + [1900] * 4, 2, "3"),
        ([1700] * 4 + [2370] * 3 + [2914], 2, "90"),
        ([1700] * 4 + [2370] * 3 + [2914], 5, "f1"),
    ],
)
def test_big_cores(clocks: list[int], threads: int, mask: str) -> None:
    cores = tuple(Core(number, clock, "schedutil") for number, clock in enumerate(clocks))
    record = PhoneRecord("", "", "", "", "", "", "", 0, (), cores)
    assert affinity_mask(record.big_cores(threads)) == mask


@pytest.mark.parametrize(
    ("clocks", "clusters"),
    [
        ([1900] * 4 + [2457] * 4, {"big": (4, 5, 6, 7), "little": (0, 1, 2, 3)}),
        ([1700] * 4 + [2370] * 4 + [2914], {"prime": (8,), "big": (4, 5, 6, 7), "little": (0, 1, 2, 3)}),
        (
            [1800] * 2 + [2250] * 2 + [2400] * 2 + [2900],
            {"prime": (6,), "big": (4, 5), "mid": (2, 3), "little": (0, 1)},
        ),
        ([2016] * 4, {"big": (0, 1, 2, 3)}),
    ],
)
def test_clusters(clocks: list[int], clusters: dict[str, tuple[int, ...]]) -> None:
    cores = tuple(Core(number, clock, "schedutil") for number, clock in enumerate(clocks))
    record = PhoneRecord("", "", "", "", "", "", "", 0, (), cores)
    assert record.clusters() == clusters
    assert list(record.clusters()) == list(clusters)
    for name, numbers in clusters.items():
        assert record.big_cores(2, name) == numbers[:2]
    assert record.big_cores(1, "none") == record.big_cores(1)
