"""Assemble the phone runtime: interpreter, C library and packages in one relocatable folder."""

from __future__ import annotations

import hashlib
import re
import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path, PurePosixPath
from typing import IO, Final, cast

from device_runtime.pack import elf
from device_runtime.pack.download import (
    DEBIAN,
    WHEELS,
    Progress,
    cache_folder,
    download_debian,
    download_wheels,
    install_wheels,
)
from device_runtime.pack.errors import PackError

LAYOUT: Final = 2
"""Version of the layout below; part of the name in the cache."""
_LIBRARIES: Final = ("lib/aarch64-linux-gnu/", "usr/lib/aarch64-linux-gnu/")
_LOADER: Final = "ld-linux-aarch64.so.1"
_PYTHON: Final = "usr/lib/python3.11/"
# Parts of the standard library and of the packages that a phone has no use for.
_OMITTED_LIBRARY: Final = (
    "curses",
    "distutils",
    "idlelib",
    "lib2to3",
    "pydoc_data",
    "sqlite3",
    "test",
    "venv",
)
_OMITTED: Final = (
    "ai_edge_litert/libLiteRtWebGpuAccelerator.so",
    "ai_edge_litert/vendors",
    "bin",
    "cv2/data",
    "cv2/typing",
    "numpy/_core/include",
    "numpy/_core/lib",
    "numpy/distutils",
    "numpy/f2py",
    "numpy/random/lib",
    "tritonclient/http",
)
# Modules that need OpenSSL, which gRPC's own TLS replaces here, and those of Python's own tests.
_OMITTED_MODULES: Final = ("_ssl", "_hashlib", "_test", "_xxtestfuzz", "_ctypes_test", "_curses", "_sqlite3")
# OpenCV's wheel brings the same FFmpeg as PyAV's, for videos that are read through OpenCV.
_OPENCV_LIBRARIES: Final = "opencv_python_headless.libs"
_PYAV_LIBRARIES: Final = "av.libs"
_FFMPEG: Final = re.compile(r"(lib(?:av|sw)\w+)-\w+\.so\.(\d+\.\d+)\.\d+")
_OMITTED_FOLDERS: Final = {"tests", "__pycache__"}
_OMITTED_SUFFIXES: Final = {".pyi", ".pyx", ".pxd", ".h", ".a", ".c", ".cc"}


def runtime_folder(progress: Progress) -> Path:
    """Return the assembled runtime in the user's cache, made first if it is not there.

    Raises:
        PackError: A download fails, or the disk is full.
    """
    cache = cache_folder()
    target = cache / f"runtime-{runtime_digest()[:16]}"
    if target.is_dir():
        return target
    cache.mkdir(parents=True, exist_ok=True)
    packages = download_debian(cache / "debian", progress)
    download_wheels(cache / "wheels", progress)
    progress("Assembling the phone runtime")
    with tempfile.TemporaryDirectory(dir=cache, prefix="part-") as temporary:
        part = Path(temporary) / "runtime"
        try:
            _assemble(part, packages, cache / "wheels")
        except OSError as err:
            raise PackError(
                f"Cannot write {cache}: {err.strerror}", "Free some space, or set XDG_CACHE_HOME"
            ) from err
        if not target.is_dir():  # another process may have been faster
            part.rename(target)
    return target


def runtime_digest() -> str:
    """Return the SHA-256 of all that determines a runtime: the pins and this layout; hexadecimal."""
    pins = DEBIAN.read_bytes() + WHEELS.read_bytes() + Path(__file__).read_bytes()
    return hashlib.sha256(pins + bytes([LAYOUT])).hexdigest()


def _assemble(folder: Path, packages: list[Path], wheels: Path) -> None:
    for name in ("lib", "interpreter/bin", "interpreter/lib", "site"):
        (folder / name).mkdir(parents=True)
    for package in packages:
        _extract(package, folder)
    install_wheels(wheels, folder / "site")
    _prune(folder)
    _shrink(folder)
    _share_ffmpeg(folder / "site")


def _extract(package: Path, folder: Path) -> None:
    """Copy the libraries and Python from a .deb into the layout; the rest is documentation."""
    links = {}
    with (
        subprocess.Popen(["dpkg-deb", "--fsys-tarfile", str(package)], stdout=subprocess.PIPE) as process,
        tarfile.open(fileobj=cast(IO[bytes], process.stdout), mode="r|") as archive,
    ):
        for member in archive:
            target = _place(member.name.removeprefix("./"), folder)
            if target and member.isfile() and (content := archive.extractfile(member)):
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(content.read())
                target.chmod(0o755 if member.mode & 0o111 else 0o644)
            elif target and member.issym():
                links[target] = target.parent / PurePosixPath(member.linkname).name
    if process.returncode:
        raise PackError(f"dpkg-deb cannot read {package.name}", f"Delete {package}, and try again")
    _resolve(links)


def _place(name: str, folder: Path) -> Path | None:
    if name == "usr/bin/python3.11":
        return folder / "interpreter/bin/python3.11"
    if name.startswith(_PYTHON):
        part = name.removeprefix(_PYTHON)
        return None if part.startswith(_OMITTED_LIBRARY) else folder / "interpreter/lib/python3.11" / part
    if name.startswith(_LIBRARIES) and ".so" in name and "/" not in name.split("aarch64-linux-gnu/")[1]:
        return folder / "lib" / PurePosixPath(name).name
    return None


def _resolve(links: dict[Path, Path]) -> None:
    """Give each library the one name by which it is loaded: a folder of a phone has no use for links."""
    for link, target in links.items():
        if target.is_file() and link.parent.name == "lib" and not link.exists():
            target.rename(link)


def _prune(folder: Path) -> None:
    site = folder / "site"
    for name in _OMITTED:
        path = site / name
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    for path in sorted(site.rglob("*"), reverse=True):
        if path.is_dir() and path.name in _OMITTED_FOLDERS:
            shutil.rmtree(path)
        elif path.suffix in _OMITTED_SUFFIXES and path.is_file():
            path.unlink()
    for path in (folder / "interpreter/lib/python3.11/lib-dynload").iterdir():
        if path.name.startswith(_OMITTED_MODULES):
            path.unlink()


def _share_ffmpeg(site: Path) -> None:
    """Link OpenCV's copy of FFmpeg to PyAV's where both have the same version, and drop what only it used."""
    theirs, ours = site / _OPENCV_LIBRARIES, site / _PYAV_LIBRARIES
    versions = {match.groups(): path for path in ours.iterdir() if (match := _FFMPEG.fullmatch(path.name))}
    for path in theirs.iterdir():
        match = _FFMPEG.fullmatch(path.name)
        if match and (same := versions.get(match.groups())):
            path.unlink()
            path.symlink_to(f"../{_PYAV_LIBRARIES}/{same.name}")
    for path in ours.iterdir():  # what these link to is looked for in OpenCV's folder
        (theirs / path.name).unlink(missing_ok=True)
        (theirs / path.name).symlink_to(f"../{_PYAV_LIBRARIES}/{path.name}")
    while unused := _unused(theirs, [*(site / "cv2").glob("*.so")]):
        for path in unused:
            path.unlink()


def _unused(libraries: Path, users: list[Path]) -> list[Path]:
    """Return the libraries whose name, which is unique in a wheel, no other file mentions."""
    files = [path for path in libraries.iterdir() if not path.is_symlink()]
    contents = {path: path.read_bytes() for path in [*files, *users]}
    return [
        path
        for path in files
        if not any(path.name.encode() in content for other, content in contents.items() if other != path)
    ]


def _shrink(folder: Path) -> None:
    for path in folder.rglob("*"):
        if path.is_symlink() or not path.is_file():
            continue
        content = path.read_bytes()
        if content[:4] == elf.MAGIC:
            if elf.machine(content) != "arm64":
                raise PackError(f"{path.name} is for {elf.machine(content)}, not for arm64")
            path.write_bytes(elf.compacted(content))
