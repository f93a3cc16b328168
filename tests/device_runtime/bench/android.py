"""The Android side of an emulated phone: a Pixel 2's files and the few programs that the bench calls."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

PROPERTIES = {
    "ro.build.fingerprint": "google/walleye/walleye:11/RP1A.201005.004.A1/6934943:user/release-keys",
    "ro.build.version.release": "11",
    "ro.build.version.sdk": "30",
    "ro.board.platform": "msm8998",
    "ro.product.cpu.abi": "arm64-v8a",
    "ro.product.manufacturer": "Google",
    "ro.product.model": "Pixel 2",
}
LITTLE_KHZ, BIG_KHZ = 1900800, 2457600
BATTERY = """Current Battery Service state:
  AC powered: false
  USB powered: true
  Wireless powered: false
  level: 87
  temperature: {tenths}
"""
# The phone's own programs.
PROGRAMS = {
    "getprop": "#!/bin/sh\ncat $PHONE/system/getprop.txt\n",
    "dumpsys": "#!/bin/sh\ncat $PHONE/system/dumpsys-$1.txt\n",
    "taskset": '#!/bin/sh\necho $1 >> $PHONE/masks\nshift\nexec "$@"\n',
}


def make_pixel_2(root: Path) -> None:
    """Fill a phone's folder."""
    for number in range(8):
        folder = root / f"sys/devices/system/cpu/cpu{number}/cpufreq"
        folder.mkdir(parents=True)
        top = BIG_KHZ if number > 3 else LITTLE_KHZ
        (folder / "cpuinfo_max_freq").write_text(f"{top}\n")
        (folder / "scaling_max_freq").write_text(f"{top}\n")
        (folder / "scaling_cur_freq").write_text("1056000\n")
        (folder / "scaling_governor").write_text("schedutil\n")
    zone = root / "sys/class/thermal/thermal_zone0"
    zone.mkdir(parents=True)
    (zone / "type").write_text("battery\n")
    (zone / "temp").write_text("31500\n")
    (root / "proc").mkdir()
    (root / "proc/cpuinfo").write_text("processor\t: 0\nFeatures\t: fp asimd evtstrm aes crc32\n")
    (root / "proc/meminfo").write_text("MemTotal:        3723040 kB\n")
    programs = root / "system/bin"
    programs.mkdir(parents=True)
    for name, text in PROGRAMS.items():
        (programs / name).write_text(text)
        (programs / name).chmod(0o755)
    (root / "system/getprop.txt").write_text("".join(f"[{k}]: [{v}]\n" for k, v in PROPERTIES.items()))
    (root / "system/dumpsys-thermalservice.txt").write_text("IsStatusOverride: false\nThermal Status: 0\n")
    set_battery(root, 31.5)
    behave(root)


def set_battery(root: Path, celsius: float) -> None:
    (root / "system/dumpsys-battery.txt").write_text(BATTERY.format(tenths=round(10 * celsius)))


def behave(root: Path, **behaviour: Any) -> None:
    """Configure the fake benchmark_model on this phone; see `benchmark_model_stand_in`."""
    (root / "behaviour.json").write_text(json.dumps({"times_us": [1000], **behaviour}))


def calls(root: Path) -> list[dict[str, str]]:
    """Return the flags of each call of the fake benchmark_model."""
    path = root / "calls.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def make_stand_in(target: Path) -> Path:
    """Write a benchmark_model that the emulated phone runs with this Python."""
    source = Path(__file__).with_name("benchmark_model_stand_in.py").read_text()
    target.write_text(f"#!{sys.executable}\n{source}")
    return target
