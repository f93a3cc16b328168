"""Download the pinned Debian and Python packages for arm64, with apt-get and pip, into the user's cache.

Integrity comes from the pins: every file's SHA-256 is checked on each use, whatever mirror it came from. apt
needs neither root nor arm64 as a foreign architecture, because it works in folders of its own.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from device_runtime.pack.errors import PackError
from mvstylizer.bundle import sha256_of

DEBIAN = Path(__file__).with_name("debian.txt")
WHEELS = Path(__file__).with_name("wheels.txt")
PYTHON = "3.11"
# pip does not derive the older tags from the newer ones.
PLATFORMS = tuple(f"manylinux{tag}_aarch64" for tag in ("_2_34", "_2_31", "_2_28", "_2_27", "_2_24", "2014"))
MIRROR = (
    "deb [arch=arm64 trusted=yes] http://deb.debian.org/debian bookworm main",
    "deb [arch=arm64 trusted=yes] http://deb.debian.org/debian-security bookworm-security main",
)
# Debian's archive keeps every version, the mirror only the newest one. On this day all versions in debian.txt
# were current.
_SNAPSHOT = "https://snapshot.debian.org/archive"
_ARCHIVE = (
    f"deb [arch=arm64 trusted=yes check-valid-until=no] {_SNAPSHOT}/debian/20261129T000000Z bookworm main",
    f"deb [arch=arm64 trusted=yes check-valid-until=no] {_SNAPSHOT}/debian-security/20261129T000000Z"
    " bookworm-security main",
)
_PHONE = (
    *(f"--platform={platform}" for platform in PLATFORMS),
    f"--python-version={PYTHON}",
    "--implementation=cp",
    "--only-binary=:all:",
)
_PINNED = ("--no-deps", "--require-hashes", f"--requirement={WHEELS}")
_TIMEOUT_S = 900.0
Progress = Callable[[str], None]


class Package(NamedTuple):
    """A Debian package of debian.txt: name, version and the SHA-256 of its file."""

    name: str
    version: str
    sha256: str


def cache_folder() -> Path:
    """Return the folder in the user's cache for downloads and assembled runtimes."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return cache / "mvstylizer" / "arm64"


def debian_packages(text: str) -> list[Package]:
    """Return the packages of debian.txt."""
    lines = (line.split() for line in text.splitlines() if line and not line.startswith("#"))
    return [Package(*line) for line in lines]


def download_debian(folder: Path, progress: Progress) -> list[Path]:
    """Return the pinned .deb files, downloading those that `folder` lacks.

    Raises:
        PackError: There is no apt-get, the download fails, or a file has another SHA-256.
    """
    packages = debian_packages(DEBIAN.read_text())
    missing = [package for package in packages if _deb(folder, package) is None]
    if missing:
        progress(f"Downloading {len(missing)} Debian packages for arm64")
        folder.mkdir(parents=True, exist_ok=True)
        _apt_download(folder, missing)
    return [path for package in packages if (path := _deb(folder, package))]


def download_wheels(folder: Path, progress: Progress) -> None:
    """Download the pinned wheels that `folder` lacks.

    Raises:
        PackError: pip is missing or fails; it checks the hashes.
    """
    pins = dict(re.findall(r"^(\S+)==\S+ --hash=sha256:(\w+)", WHEELS.read_text(), re.M))
    there = {sha256_of(path) for path in folder.glob("*.whl")}
    if missing := set(pins.values()) - there:
        progress(f"Downloading {len(missing)} Python packages for aarch64")
        folder.mkdir(parents=True, exist_ok=True)
        pip_download(folder, _PINNED)


def install_wheels(downloads: Path, site: Path) -> None:
    """Install the pinned wheels from `downloads` into the folder `site`.

    Raises:
        PackError: pip fails.
    """
    sources = ["--no-index", "--find-links", str(downloads)]
    _pip(["install", "--target", str(site), "--no-compile", *sources, *_PHONE, *_PINNED])


def pip_download(folder: Path, arguments: Sequence[str]) -> None:
    """Download wheels for a phone.

    Raises:
        PackError: pip fails.
    """
    _pip(["download", "--dest", str(folder), *_PHONE, *arguments])


class Apt:
    """apt-get for arm64 with lists, cache and sources of its own: no root, and no change to this system.

    Args:
        work: New folder for its files.
        sources: Lines of a sources.list.
    """

    def __init__(self, work: Path, sources: Sequence[str]) -> None:
        _need("apt-get", "dpkg-deb")
        for name in ("state/lists/partial", "cache/archives/partial"):
            (work / name).mkdir(parents=True)
        (work / "status").touch()
        (work / "sources.list").write_text("\n".join(sources) + "\n")
        (work / "apt.conf").write_text(
            f'APT::Architecture "arm64"; APT::Architectures {{ "arm64"; }}; APT::Sandbox::User "";\n'
            f'Dir::State "{work}/state"; Dir::State::status "{work}/status"; Dir::Cache "{work}/cache";\n'
            f'Dir::Etc::sourcelist "{work}/sources.list"; Dir::Etc::sourceparts "-";\n'
        )
        self._environment = {**os.environ, "APT_CONFIG": str(work / "apt.conf")}

    def download(self, folder: Path, packages: Sequence[str]) -> str:
        """Download packages, ``NAME`` or ``NAME=VERSION``, and return what apt says about those it lacks."""
        update = _run(["apt-get", "update", "-qq"], self._environment)
        said = update.stderr if update.returncode else ""
        for package in packages:
            done = _run(["apt-get", "download", "-qq", package], self._environment, folder)
            said += done.stderr if done.returncode else ""
        return said


def _pip(arguments: Sequence[str]) -> None:
    # A user's settings that would send the packages elsewhere. Index and proxy stay in force.
    redirections = ("PIP_TARGET", "PIP_PREFIX", "PIP_ROOT", "PIP_USER", "PIP_CONSTRAINT", "PIP_NO_BINARY")
    environment = {name: value for name, value in os.environ.items() if name not in redirections}
    command = [
        sys.executable,
        "-m",
        "pip",
        *arguments,
        "--quiet",
        "--disable-pip-version-check",
        "--no-input",
    ]
    done = _run(command, environment)
    if done.returncode:
        raise PackError(f"pip fails: {_reason(done.stderr)}", "Check the connection, and try again")


def _apt_download(folder: Path, packages: Sequence[Package]) -> None:
    said = ""
    for sources in (MIRROR, _ARCHIVE):
        left = [f"{each.name}={each.version}" for each in packages if _deb(folder, each) is None]
        if left:
            with tempfile.TemporaryDirectory(prefix="mvstylizer-apt-") as temporary:
                said = Apt(Path(temporary), sources).download(folder, left)
    if lost := [package.name for package in packages if _deb(folder, package) is None]:
        raise PackError(
            f"apt-get has no {', '.join(lost)} with the pinned SHA-256: {_reason(said)}",
            "Check the connection, or use a newer version of the kit",
        )


def _deb(folder: Path, package: Package) -> Path | None:
    """Return the downloaded file of a package if its content is the pinned one."""
    candidates = folder.glob(f"{package.name}_*.deb")
    return next((path for path in candidates if sha256_of(path) == package.sha256), None)


def _need(*programs: str) -> None:
    for program in programs:
        if shutil.which(program) is None:
            raise PackError(
                f"{program} is not installed", "Run this on Debian or Ubuntu, or in a container of either"
            )


def _run(
    command: Sequence[str], environment: dict[str, str], folder: Path | None = None
) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(
            command,
            env=environment,
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=_TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired as err:
        raise PackError(
            f"{command[0]} did not finish within {_TIMEOUT_S:.0f} s", "Check the connection, and try again"
        ) from err


def _reason(output: str) -> str:
    lines = [line for line in output.splitlines() if line.startswith(("E:", "Err:", "ERROR:"))] or [output]
    return lines[-1].strip()
