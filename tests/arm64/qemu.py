"""Run arm64 programs on this machine: qemu's user-mode emulation of a Cortex-A76."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import NoReturn

import pytest

from device_runtime.pack.errors import PackError
from device_runtime.pack.pack import Pack, make_pack

CPU = "cortex-a76"
CORE = """processor\t: {}
BogoMIPS\t: 38.40
Features\t: fp asimd evtstrm aes pmull sha1 sha2 crc32 atomics fphp asimdhp cpuid asimdrdm lrcpc dcpop asimddp
CPU implementer\t: 0x41
CPU architecture: 8
CPU variant\t: 0x4
CPU part\t: 0xd0b
CPU revision\t: 0

"""
REQUIRED = "MVSTYLIZER_TEST_ARM64"  # set by `make test-arm64`
MISSING = "qemu-aarch64-static is not installed: apt-get install qemu-user-static"


def find_qemu() -> str:
    """Return qemu's path. Where it is missing, skip and say so; `make test-arm64` fails instead."""
    found = shutil.which("qemu-aarch64-static") or shutil.which("qemu-aarch64")
    if found is None:
        give_up(MISSING)
    return found


def give_up(missing: str) -> NoReturn:
    """Fail in `make test-arm64`, which is for these tests alone; elsewhere skip, with what is missing."""
    if os.environ.get(REQUIRED):
        pytest.fail(missing)
    pytest.skip(missing)


def downloaded_pack(folder: Path) -> Pack:
    """Make a pack in a new folder. Where nothing has its pinned packages, see `give_up`."""
    find_qemu()
    try:
        return make_pack(folder)
    except PackError as error:
        if error.hint.startswith("Check the connection"):
            give_up(str(error))
        raise


def write_cpuinfo(folder: Path, cores: int = 2) -> Path:
    """Write the emulated CPU's /proc/cpuinfo, which LiteRT reads, under `folder` and return `folder`."""
    (folder / "proc").mkdir(parents=True, exist_ok=True)
    (folder / "proc/cpuinfo").write_text("".join(map(CORE.format, range(cores))))
    return folder


class Arm64:
    """A phone's folder whose programs run under emulation.

    Args:
        pack: A folder of `mvstylizer device pack`.
        system: A folder with the emulated CPU's /proc/cpuinfo.
    """

    def __init__(self, pack: Path, system: Path) -> None:
        self.pack = pack
        self._command = [find_qemu(), "-cpu", CPU, "-L", str(write_cpuinfo(system))]

    def python(self, *arguments: str | Path, folder: Path) -> subprocess.CompletedProcess[str]:
        """Run the pack's Python as its launcher does, in `folder`, and return its output."""
        launched = [self.pack / "lib/ld-linux-aarch64.so.1", "--library-path", self.pack / "lib"]
        command = [*self._command, *launched, self.pack / "interpreter/bin/python3.11", *arguments]
        environment = {
            "PATH": "/usr/bin:/bin",
            "HOME": str(folder),
            "TMPDIR": str(folder),
            "PYTHONHOME": str(self.pack / "interpreter"),
            "PYTHONPATH": str(self.pack / "site"),
            "PYTHONNOUSERSITE": "1",
            "PYTHONUTF8": "1",
            "PYTHONDONTWRITEBYTECODE": "1",
        }
        words = [str(word) for word in command]
        return subprocess.run(words, cwd=folder, env=environment, capture_output=True, text=True, timeout=300)
