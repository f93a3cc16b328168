"""A phone's hardware (model, SoC, cores) and its current state (clocks, battery, temperature)."""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from device_runtime.bench.adb import Phone

_CPUS = "/sys/devices/system/cpu/cpu[0-9]*/cpufreq"
# grep -H prints "path:value" for each readable file; -s suppresses errors for the others.
_IDENTITY = f"""getprop
grep -m 1 Features /proc/cpuinfo
grep MemTotal /proc/meminfo
echo "[page.size]: [$(getconf PAGE_SIZE 2>/dev/null)]"
grep -sH . {_CPUS}/cpuinfo_max_freq {_CPUS}/scaling_governor
true"""
_STATE = f"""grep -sH . {_CPUS}/scaling_cur_freq {_CPUS}/scaling_max_freq
grep -sH . /sys/class/thermal/thermal_zone*/type /sys/class/thermal/thermal_zone*/temp
dumpsys battery
dumpsys thermalservice
cmd thermalservice headroom 10 2>/dev/null
grep -sH . /sys/class/power_supply/battery/current_now
true"""
_PROPERTY = re.compile(r"^\[(.+?)\]: \[(.*)\]$", re.M)
_CPU_FILE = re.compile(r"cpu(\d+)/cpufreq/(\w+):(.+)$", re.M)
_ZONE_FILE = re.compile(r"thermal_zone(\d+)/(type|temp):(.+)$", re.M)


@dataclass(frozen=True)
class Core:
    """A CPU core: number, maximum clock in kHz, governor."""

    number: int
    max_khz: int
    governor: str


@dataclass(frozen=True)
class PhoneRecord:
    """Properties that do not change during a benchmark.

    Attributes:
        serial_hash: First 12 hexadecimal digits of the serial's SHA-256: distinguishes phones without
            identifying them.
        model: Manufacturer and model.
        soc: The SoC; before Android 12, the board.
        abi: ABI of native programs, for example ``arm64-v8a``.
        android: Version, for example ``11``.
        sdk: API level.
        fingerprint: Fingerprint of the system build.
        memory_kb: RAM in kB; 0 if unknown.
        cpu_features: As listed by the kernel, for example ``asimdhp``.
        cores: CPU cores; empty if the phone hides their clocks.
        page_size: Bytes of a memory page, 4096 or 16384; 0 if unknown.
        emulated: Whether it says that it is emulated: its times mean nothing.
    """

    serial_hash: str
    model: str
    soc: str
    abi: str
    android: str
    sdk: str
    fingerprint: str
    memory_kb: int
    cpu_features: tuple[str, ...]
    cores: tuple[Core, ...]
    page_size: int = 0
    emulated: bool = False

    def clusters(self) -> dict[str, tuple[int, ...]]:
        """Return the cores of each cluster, the fastest first: ``prime``, ``big``, ``mid``, ``little``.

        A cluster of one core that is faster than all others is the prime one; the slowest is the little one.
        """
        clocks = sorted({core.max_khz for core in self.cores}, reverse=True)
        groups = [tuple(core.number for core in self.cores if core.max_khz == clock) for clock in clocks]
        names = ["prime"] if len(groups) > 1 and len(groups[0]) == 1 else []
        names += ["big", "mid", *(f"mid{number}" for number in range(2, len(groups)))]
        named = dict(zip(names, groups, strict=False))
        if len(groups) > 1:
            named.pop(names[len(groups) - 1])
            named["little"] = groups[-1]
        return named

    def big_cores(self, threads: int, cluster: str = "fastest") -> tuple[int, ...]:
        """Return the cores for a number of threads: as many, the fastest, or those of one cluster.

        Without pinning, the scheduler moves a benchmark between clusters and figures vary by a factor of two.

        Args:
            threads: Number of threads.
            cluster: A name of `clusters`, or ``fastest``. A phone without that cluster uses the fastest.
        """
        clusters = self.clusters()
        cores = clusters.get(cluster) or tuple(core for group in clusters.values() for core in group)
        return tuple(sorted(cores[:threads]))


@dataclass(frozen=True)
class PhoneState:
    """Current state of a phone; None or empty where the phone does not report it.

    Attributes:
        battery_percent: Charge.
        battery_c: Battery temperature, °C.
        powered: Whether it is being charged.
        thermal_status: Android's status: 0 none, 1 light, 2 moderate, 3 severe, and above.
        clocks_khz: Current clock by core.
        ceilings_khz: Clock currently allowed by thermal management, by core.
        zones_c: Temperature by thermal zone, °C.
        skin_c: Temperature of the phone's skin, °C.
        headroom: Forecast of the skin's warmth in ten seconds, 1.0 where Android throttles severely.
        battery_ma: Battery current in mA, as the kernel signs it.
        charger: ``ac``, ``usb``, ``wireless``, ``dock``, or empty.
    """

    battery_percent: int | None
    battery_c: float | None
    powered: bool | None
    thermal_status: int | None
    clocks_khz: dict[int, int]
    ceilings_khz: dict[int, int]
    zones_c: dict[str, float]
    skin_c: float | None = None
    headroom: float | None = None
    battery_ma: float | None = None
    charger: str = ""


class Cooling(NamedTuple):
    """Result of the cool-down wait: seconds waited, whether the phone is cool, and its state."""

    waited_s: float
    cool: bool
    state: PhoneState


def affinity_mask(cores: tuple[int, ...]) -> str:
    """Return taskset's hexadecimal mask, ``f0`` for cores 4 to 7."""
    return f"{sum(1 << core for core in cores):x}"


def read_record(phone: Phone) -> PhoneRecord:
    """Read the phone's properties.

    Raises:
        AdbError: See `Phone.shell`.
    """
    output = phone.shell(_IDENTITY).stdout
    properties = dict(_PROPERTY.findall(output))
    features = re.search(r"^Features\s*:\s*(.*)$", output, re.M)
    memory = re.search(r"^MemTotal:\s*(\d+)", output, re.M)
    cpus = _by_cpu(output)
    names = (properties.get(f"ro.product.{name}", "") for name in ("manufacturer", "model"))
    return PhoneRecord(
        serial_hash=hashlib.sha256(phone.serial.encode()).hexdigest()[:12],
        model=" ".join(names).strip(),
        soc=properties.get("ro.soc.model") or properties.get("ro.board.platform", ""),
        abi=properties.get("ro.product.cpu.abi", ""),
        android=properties.get("ro.build.version.release", ""),
        sdk=properties.get("ro.build.version.sdk", ""),
        fingerprint=properties.get("ro.build.fingerprint", ""),
        memory_kb=int(memory[1]) if memory else 0,
        cpu_features=tuple(features[1].split()) if features else (),
        cores=tuple(
            Core(cpu, int(files["cpuinfo_max_freq"]), files.get("scaling_governor", ""))
            for cpu, files in sorted(cpus.items())
            if "cpuinfo_max_freq" in files
        ),
        page_size=int(page) if (page := properties.get("page.size", "")).isdecimal() else 0,
        emulated="1" in (properties.get("ro.boot.qemu"), properties.get("ro.kernel.qemu")),
    )


def read_state(phone: Phone) -> PhoneState:
    """Read the phone's current state.

    Raises:
        AdbError: See `Phone.shell`.
    """
    output = phone.shell(_STATE).stdout
    status = re.search(r"Thermal Status:\s*(\d+)", output)
    level = re.search(r"^\s*level:\s*(\d+)", output, re.M)
    tenths = re.search(r"^\s*temperature:\s*(-?\d+)", output, re.M)
    powered = re.findall(r"(AC|USB|Wireless|Dock) powered:\s*(true|false)", output)
    chargers = [name.lower() for name, state in powered if state == "true"]
    skin = re.search(r"Temperature\{mValue=([-\d.]+), mType=3\b", output)  # 3 is the skin
    headroom = re.search(r"[Hh]eadroom\D*?(?:\d+ seconds?\D*)?(\d+\.\d+)", output)
    current = re.search(r"/current_now:(-?\d+)", output)
    cpus = _by_cpu(output)
    return PhoneState(
        battery_percent=int(level[1]) if level else None,
        battery_c=int(tenths[1]) / 10 if tenths else None,
        powered=bool(chargers) if powered else None,
        thermal_status=int(status[1]) if status else None,
        clocks_khz={c: int(f["scaling_cur_freq"]) for c, f in cpus.items() if "scaling_cur_freq" in f},
        ceilings_khz={c: int(f["scaling_max_freq"]) for c, f in cpus.items() if "scaling_max_freq" in f},
        zones_c=_zones(output),
        skin_c=float(skin[1]) if skin else None,
        headroom=float(headroom[1]) if headroom else None,
        battery_ma=int(current[1]) / 1000 if current else None,
        charger=chargers[0] if chargers else "",
    )


def wait_until_cool(
    phone: Phone,
    *,
    below_c: float,
    seconds: float,
    poll_s: float = 5.0,
    sleep: Callable[[float], None] = time.sleep,
) -> Cooling:
    """Wait until the battery is at most `below_c` and Android reports no thermal throttling.

    Values that the phone does not report are ignored.

    Args:
        phone: The phone.
        below_c: Maximum battery temperature, °C.
        seconds: Maximum wait, after which `Cooling.cool` is False.
        poll_s: Seconds between two readings.
        sleep: Replaces `time.sleep`.

    Raises:
        AdbError: See `Phone.shell`.
    """
    waited = 0.0
    while True:
        state = read_state(phone)
        cool = (state.battery_c or 0) <= below_c and not state.thermal_status
        if cool or waited >= seconds:
            return Cooling(waited, cool, state)
        sleep(poll_s)
        waited += poll_s


def _by_cpu(output: str) -> dict[int, dict[str, str]]:
    cpus: dict[int, dict[str, str]] = {}
    for number, name, value in _CPU_FILE.findall(output):
        cpus.setdefault(int(number), {})[name] = value.strip()
    return cpus


def _zones(output: str) -> dict[str, float]:
    zones: dict[str, dict[str, str]] = {}
    for number, name, value in _ZONE_FILE.findall(output):
        zones.setdefault(number, {})[name] = value.strip()
    temperatures = {}
    for zone in zones.values():
        if "type" in zone and re.fullmatch(r"-?\d+", zone.get("temp", "")):
            value = int(zone["temp"])
            # Most kernels report thousandths of a degree, some zones whole degrees.
            temperatures[zone["type"]] = value / 1000 if abs(value) >= 1000 else float(value)
    return temperatures
