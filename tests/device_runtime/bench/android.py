"""The Android side of an emulated phone: a Pixel 2's files and the few programs that the bench calls."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

from tests.arm64.qemu import CPU, write_cpuinfo

PROPERTIES = {
    "ro.build.fingerprint": "google/walleye/walleye:11/RP1A.201005.004.A1/6934943:user/release-keys",
    "ro.build.version.release": "11",
    "ro.build.version.sdk": "30",
    "ro.board.platform": "msm8998",
    "ro.product.cpu.abi": "arm64-v8a",
    "ro.product.manufacturer": "Google",
    "ro.product.model": "Pixel 2",
}
THERMAL = """IsStatusOverride: false
Thermal Status: 0
Current temperatures from HAL:
\tTemperature{mValue=33.7, mType=3, mName=skin, mStatus=0}
\tTemperature{mValue=48.0, mType=0, mName=CPU0, mStatus=0}
"""
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
    "settings": """#!/bin/sh
file=$PHONE/system/settings-$3
case $1 in
  get) cat $file 2>/dev/null || echo null;;
  put) echo $4 > $file;;
  delete) rm -f $file;;
esac
""",
    "cmd": """#!/bin/sh
[ "$2" = set-fixed-performance-mode-enabled ] && echo $3 >> $PHONE/system/fixed-performance && exit 0
[ "$2" = headroom ] && echo "Headroom in $3 seconds: 0.62" && exit 0
exit 255
""",
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
    supply = root / "sys/class/power_supply/battery"
    supply.mkdir(parents=True)
    (supply / "current_now").write_text("-412000\n")
    (root / "proc").mkdir()
    (root / "proc/cpuinfo").write_text("processor\t: 0\nFeatures\t: fp asimd evtstrm aes crc32\n")
    (root / "proc/meminfo").write_text("MemTotal:        3723040 kB\n")
    programs = root / "system/bin"
    programs.mkdir(parents=True)
    for name, text in PROGRAMS.items():
        (programs / name).write_text(text)
        (programs / name).chmod(0o755)
    (root / "system/getprop.txt").write_text("".join(f"[{k}]: [{v}]\n" for k, v in PROPERTIES.items()))
    (root / "system/dumpsys-thermalservice.txt").write_text(THERMAL)
    set_battery(root, 31.5)
    behave(root)


def emulate_arm64(root: Path, qemu: str) -> None:
    """Make the phone's shell run arm64 programs, and say that it is emulated.

    Its ``exec``, with which a pack's launcher ends, hands them to qemu: the kernel refuses them without an
    entry in binfmt_misc, which takes root.
    """
    write_cpuinfo(root)
    shell = shutil.which("bash") or "bash"
    (root / "system/functions.sh").write_text(
        "exec() {\n"
        '  local found; found=$(type -P "$1")\n'
        '  if [ "$(od -An -tx1 -j18 -N2 "$found" 2>/dev/null)" = " b7 00" ]; then\n'
        f'    builtin exec {qemu} -cpu {CPU} -L "$PHONE" "$@"\n'
        "  fi\n"
        '  builtin exec "$@"\n'
        "}\n"
    )
    (root / "system/bin/sh").write_text(
        f'#!{shell}\nBASH_ENV="$PHONE/system/functions.sh" builtin exec {shell} "$@"\n'
    )
    (root / "system/bin/sh").chmod(0o755)
    set_property(root, "ro.boot.qemu", "1")


def set_property(root: Path, name: str, value: str) -> None:
    """Change a property; getprop prints the last value of a name last."""
    with (root / "system/getprop.txt").open("a") as stream:
        stream.write(f"[{name}]: [{value}]\n")


def set_battery(root: Path, celsius: float) -> None:
    (root / "system/dumpsys-battery.txt").write_text(BATTERY.format(tenths=round(10 * celsius)))


def behave(root: Path, **behaviour: Any) -> None:
    """Configure the fake benchmark_model on this phone; see `benchmark_model_stand_in`."""
    (root / "behaviour.json").write_text(json.dumps({"times_us": [1000], **behaviour}))


def calls(root: Path) -> list[dict[str, str]]:
    """Return the flags of each call of the fake benchmark_model."""
    path = root / "calls.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def make_stand_in(target: Path, kind: str = "benchmark_model") -> Path:
    """Write a benchmark_model (or ``litert``, LiteRT's) that the emulated phone runs with this Python."""
    source = Path(__file__).with_name(f"{kind}_stand_in.py").read_text()
    target.write_text(f"#!{sys.executable}\n{source}")
    return target
