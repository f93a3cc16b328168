"""Pin the packages of the phone runtime again, at the versions of today.

Usage:
    python -m device_runtime.pack.pins requirements.lock

Debian's come from its mirror, Python's from requirements.lock. Run `make test-arm64` afterwards.
"""

from __future__ import annotations

import re
import sys
import tempfile
from pathlib import Path

from device_runtime.pack.download import DEBIAN, MIRROR, WHEELS, Apt, debian_packages, pip_download
from mvstylizer.bundle import sha256_of


def pin_debian(folder: Path) -> str:
    """Return the new text of debian.txt.

    Args:
        folder: Empty folder for the downloads.
    """
    text = DEBIAN.read_text()
    names = [package.name for package in debian_packages(text)]
    Apt(folder / "apt", MIRROR).download(folder, names)
    lines = []
    for name in names:
        (path,) = folder.glob(f"{name}_*.deb")
        version = path.name.split("_")[1].replace("%3a", ":")
        lines.append(f"{name} {version} {sha256_of(path)}")
    return _with_head(text, lines)


def pin_wheels(folder: Path, lock: Path) -> str:
    """Return the new text of wheels.txt.

    Args:
        folder: Empty folder for the downloads.
        lock: requirements.lock.
    """
    text = WHEELS.read_text()
    names = re.findall(r"^([\w-]+)==", text, re.M)
    pip_download(folder, ["--no-deps", "--constraint", str(lock), *names])
    lines = []
    for path in folder.glob("*.whl"):
        name, version = path.name.split("-")[:2]
        lines.append(f"{name.replace('_', '-').lower()}=={version} --hash=sha256:{sha256_of(path)}")
    return _with_head(text, sorted(lines))


def _with_head(text: str, lines: list[str]) -> str:
    head = [line for line in text.splitlines() if line.startswith("#")]
    return "\n".join([*head, *lines]) + "\n"


def main() -> None:
    """Write both files."""
    for target, pin in ((DEBIAN, pin_debian), (WHEELS, lambda folder: pin_wheels(folder, Path(sys.argv[1])))):
        with tempfile.TemporaryDirectory() as folder:
            target.write_text(pin(Path(folder)))


if __name__ == "__main__":
    main()
