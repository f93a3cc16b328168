"""Make the folder that runs `mvstylizer` on a phone: the runtime, the kit and its models.

Usage:
    pack = make_pack(Path("pack"))
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

from device_runtime.pack import elf
from device_runtime.pack.download import DEBIAN, WHEELS, Progress
from device_runtime.pack.errors import PackError
from device_runtime.pack.models import copy_for_phone
from device_runtime.pack.runtime import runtime_folder
from mvstylizer.bundle import default_bundle, load_bundle

SCHEMA: Final = "mvstylizer.pack/1"
RECORD: Final = "pack.json"
MAX_BYTES: Final = 250_000_000
_ROOT: Final = Path(__file__).parents[2]
_FOLDERS: Final = ("mvstylizer", "mvstylizer_cli", "edge_triton", "device_runtime")
_VARIANTS: Final = ("mvstylizer", "lite")
_LAUNCHERS: Final = {"python": "launch.sh", "mvstylizer": "command.sh"}
_METADATA: Final = "Metadata-Version: 2.1\nName: mvstylizer\nVersion: {}\n"


@dataclass(frozen=True)
class Pack:
    """A folder for a phone.

    Attributes:
        path: The folder.
        version: The kit's version.
        content: SHA-256 over the paths and contents of all files, hexadecimal.
        bytes: Size of all files.
        files: Number of files.
        page_size: Largest page size in bytes that all of its programs support.
        bundle: Name of the bundle added as ``bundle``; empty if none was.
    """

    path: Path
    version: str
    content: str
    bytes: int
    files: int
    page_size: int
    bundle: str

    def as_dict(self) -> dict[str, Any]:
        """Return the fields as JSON-compatible values, with the pinned packages."""
        return {"schema": SCHEMA, **asdict(self), "path": str(self.path), "packages": _packages()}


def make_pack(out: Path, bundle: Path | None = None, progress: Progress = lambda _: None) -> Pack:
    """Write the folder, replacing an earlier one; it appears under its name when it is complete.

    Args:
        out: The folder. It must be new, empty, or an earlier pack.
        bundle: A bundle to add as ``bundle``; the bundled models are always in.
        progress: Called with a line for each step.

    Raises:
        PackError: `out` holds other files, a download fails, or the disk is full.
        BundleError: `bundle` is missing or damaged.
    """
    if out.exists() and not (out.is_dir() and (not any(out.iterdir()) or (out / RECORD).is_file())):
        raise PackError(f"{out} exists and is not a pack", "Choose a new folder with --out")
    name = load_bundle(bundle).name if bundle else ""
    runtime = runtime_folder(progress)
    progress("Adding the kit and its models")
    part = out.with_name(f".{out.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    try:
        shutil.copytree(runtime, part, symlinks=True)
        _add_kit(part, bundle)
        pack = _record(part, out, name)
        shutil.rmtree(out, ignore_errors=True)
        part.rename(out)
    except OSError as err:
        raise PackError(
            f"Cannot write {out}: {err.strerror}", "Free some space, or choose another --out"
        ) from err
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return pack


def read_pack(folder: Path) -> Pack:
    """Read the record of a folder that `make_pack` wrote.

    Raises:
        PackError: It is not one, or of another version of the format.
    """
    try:
        record = json.loads((folder / RECORD).read_text())
        if record["schema"] != SCHEMA:
            raise PackError(f"{folder} is a pack of another version", "Run: mvstylizer device pack")
        fields = {name: record[name] for name in Pack.__annotations__ if name != "path"}
        return Pack(path=folder, **fields)
    except (OSError, ValueError, KeyError, TypeError) as err:
        raise PackError(f"{folder} is not a pack", "Run: mvstylizer device pack") from err


def pack_files(folder: Path) -> Iterator[Path]:
    """Yield all files of a pack in order."""
    yield from sorted(path for path in folder.rglob("*") if path.is_file())


def _add_kit(folder: Path, bundle: Path | None) -> None:
    ignored = shutil.ignore_patterns("__pycache__", "*.pyc", "models")
    for name in _FOLDERS:
        shutil.copytree(_ROOT / name, folder / "site" / name, ignore=ignored)
    for variant in _VARIANTS:
        copy_for_phone(default_bundle(variant), folder / "site/mvstylizer/models" / variant)
    number = version("mvstylizer")
    metadata = folder / "site" / f"mvstylizer-{number}.dist-info" / "METADATA"
    metadata.parent.mkdir()
    metadata.write_text(_METADATA.format(number))
    if bundle:
        copy_for_phone(bundle, folder / "bundle")
    for target, source in _LAUNCHERS.items():
        shutil.copy(Path(__file__).with_name(source), folder / target)
        (folder / target).chmod(0o755)


def _record(part: Path, out: Path, bundle: str) -> Pack:
    digest, size, count, page = hashlib.sha256(), 0, 0, 1 << 16
    for path in pack_files(part):
        content = os.readlink(path).encode() if path.is_symlink() else path.read_bytes()
        digest.update(f"{path.relative_to(part)}\0{hashlib.sha256(content).hexdigest()}\n".encode())
        size, count = size + len(content), count + 1
        if content[:4] == elf.MAGIC:
            page = min(page, elf.page_alignment(content))
    pack = Pack(out, version("mvstylizer"), digest.hexdigest(), size, count, page, bundle)
    if size > MAX_BYTES:
        raise PackError(
            f"The pack has {size / 1e6:.0f} MB, more than {MAX_BYTES / 1e6:.0f}", "Use a smaller --bundle"
        )
    record = {key: value for key, value in pack.as_dict().items() if key != "path"}
    (part / RECORD).write_text(json.dumps(record, indent=2) + "\n")
    return pack


def _packages() -> list[str]:
    lines = (DEBIAN.read_text() + WHEELS.read_text()).splitlines()
    return [line.replace("--hash=sha256:", "") for line in lines if not line.startswith("#")]
