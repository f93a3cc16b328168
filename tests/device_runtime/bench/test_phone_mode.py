from __future__ import annotations

from pathlib import Path

import pytest

from device_runtime.bench.adb import Phone
from device_runtime.bench.phone_mode import benchmark_mode, restore
from tests.device_runtime.bench.adb_daemon import EmulatedPhone


def awake(pixel: EmulatedPhone) -> str | None:
    path = pixel.root / "system/settings-stay_on_while_plugged_in"
    return path.read_text().strip() if path.exists() else None


def fixed(pixel: EmulatedPhone) -> list[str]:
    path = pixel.root / "system/fixed-performance"
    return path.read_text().split() if path.exists() else []


@pytest.mark.parametrize("before", [None, "2"])
def test_settings_are_restored(phone: Phone, pixel: EmulatedPhone, before: str | None) -> None:
    path = pixel.root / "system/settings-stay_on_while_plugged_in"
    if before:
        path.write_text(before)

    def interrupted() -> None:
        with benchmark_mode(phone) as mode:
            assert mode == {"awake": True, "fixed_performance": True}
            assert (awake(pixel), fixed(pixel)) == ("15", ["true"])
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert (awake(pixel), fixed(pixel)) == (before, ["true", "false"])
    assert not restore(phone)


def test_the_next_run_restores_what_a_crash_left(phone: Phone, pixel: EmulatedPhone) -> None:
    (pixel.root / "system/settings-stay_on_while_plugged_in").write_text("1")
    left = benchmark_mode(phone)
    left.__enter__()
    stored = pixel.path("/data/local/tmp/mvstylizer-bench/settings.json").read_text()
    left.__exit__(None, None, None)
    # As it was when the process was killed: the settings of the run, and the stored ones.
    (pixel.root / "system/settings-stay_on_while_plugged_in").write_text("15")
    pixel.path("/data/local/tmp/mvstylizer-bench/settings.json").write_text(stored)
    with benchmark_mode(phone):
        pass
    assert awake(pixel) == "1"
    assert fixed(pixel)[-1] == "false"


def test_a_phone_without_the_modes(phone: Phone, pixel: EmulatedPhone) -> None:
    for name in ("cmd", "settings"):
        Path(pixel.root / "system/bin" / name).unlink()
    with benchmark_mode(phone) as mode:
        assert mode == {"awake": False, "fixed_performance": False}
