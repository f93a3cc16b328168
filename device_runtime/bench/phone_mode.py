"""Settings of a phone for the time of a benchmark, restored afterwards; after a crash, by the next run."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from device_runtime.bench.adb import Phone
from device_runtime.bench.push import FOLDER

_RECORD: Final = f"{FOLDER}/settings.json"
_STAY_AWAKE: Final = "stay_on_while_plugged_in"
_ALWAYS: Final = "15"  # on AC, USB, wireless charger and dock
_FIXED: Final = "cmd power set-fixed-performance-mode-enabled"


# Processes of the app on the screen may use all cores at full clocks, unlike those of a shell. Before Android
# 12 this changes nothing.
TOP_APP: Final = "settaskprofile $$ SCHED_SP_TOP_APP CPUSET_SP_TOP_APP >/dev/null 2>&1; "


@contextmanager
def benchmark_mode(phone: Phone) -> Iterator[dict[str, bool]]:
    """Keep the phone awake and, on Android 11 and later, its clocks at a level that it can sustain.

    The previous settings are stored on the phone first, so that the next run restores them if this one dies.

    Yields:
        What is in force: ``awake`` and ``fixed_performance``.

    Raises:
        AdbError: See `Phone.shell`.
    """
    restore(phone)
    before = phone.shell(f"settings get global {_STAY_AWAKE}").stdout.strip()
    record = {"stay_awake": before if before.isdecimal() else ""}
    phone.shell(f"mkdir -p {FOLDER} && echo {shlex.quote(json.dumps(record))} > {_RECORD}")
    try:
        yield {
            "awake": _works(phone, f"settings put global {_STAY_AWAKE} {_ALWAYS}"),
            "fixed_performance": _works(phone, f"{_FIXED} true"),
        }
    finally:
        if phone.is_connected():
            restore(phone)


def restore(phone: Phone) -> bool:
    """Restore the settings that a run stored and did not restore; return whether there were any.

    Raises:
        AdbError: See `Phone.shell`.
    """
    found = phone.shell(f"cat {_RECORD} 2>/dev/null").stdout
    if not found:
        return False
    try:
        before = str(json.loads(found)["stay_awake"])
    except (ValueError, KeyError, TypeError):
        before = ""
    setting = f"settings put global {_STAY_AWAKE} {before}" if before.isdecimal() else ""
    phone.shell(f"{_FIXED} false; {setting or f'settings delete global {_STAY_AWAKE}'}; rm -f {_RECORD}")
    return True


def _works(phone: Phone, command: str) -> bool:
    done = phone.shell(command)
    return done.exit_code == 0 and not done.stderr.strip()
