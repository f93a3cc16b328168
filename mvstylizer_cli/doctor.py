"""What this machine has of what the kit needs, and how to mend what is missing: ``mvstylizer doctor``.

Every check looks at the real thing (loads the codec, finds the server, binds the port), not at a version
number. Heavy imports stand inside the checks: a broken package is a finding, not a crash.
"""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
import sysconfig
from collections.abc import Callable
from ctypes.util import find_library
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

from mvstylizer.errors import MVStylizerError

Verdict = Literal["ok", "missing", "absent"]
SHARED_MEMORY = Path("/dev/shm")
MIN_SHARED_MEMORY = 64 << 20  # a few 1080p frames in flight
MIN_DISK = 2 << 30
# Port -> the command that takes it by default, and how to take another.
PORTS = {
    8001: "mvstylizer serve --port 8101",
    8002: "mvstylizer serve --health 127.0.0.1:8102",
    8765: "mvstylizer studio --port 8865",
    9443: "mvstylizer federate cloud --port 9543 ...",
}
EXTRAS = {
    "train": "torch",
    "export": "tensorflow",
    "onnx2tf": "onnx2tf",
    "fl": "flwr",
    "bench": "matplotlib",
    "studio": "starlette",
}
NVIDIA_QUERY = ("nvidia-smi", "--query-gpu=name,memory.total", "--format=csv,noheader")


@dataclass(frozen=True)
class Finding:
    """The outcome of one check.

    Attributes:
        name: What was looked at.
        verdict: ``ok``; ``missing``: the main job needs it; ``absent``: only some commands want it.
        found: What is there.
        mend: What to do, empty where nothing is.
    """

    name: str
    verdict: Verdict
    found: str
    mend: str = ""

    def as_dict(self) -> dict[str, Any]:
        """Return the fields as plain values, fit for JSON."""
        return asdict(self)


def examine() -> list[Finding]:
    """Run every check, in the order in which a user would mend things."""
    return [check() for check in CHECKS]


def check_python() -> Finding:
    """3.11 or 3.12: the server's wheel carries stubs for these, and the lock is resolved for 3.11."""
    found = ".".join(map(str, sys.version_info[:3]))
    if (3, 11) <= sys.version_info[:2] <= (3, 12):
        return Finding("python", "ok", found)
    return Finding("python", "missing", found, "Use Python 3.11: make demo PYTHON=python3.11")


def check_names() -> Finding:
    """No other installed package owns one of our top-level folders."""
    from importlib.metadata import packages_distributions

    owners = packages_distributions()
    folders = ("training", "export", "edge_triton", "device_runtime", "fl", "benchmarks", "studio")
    foreign = {name: set(owners.get(name, ())) - {"mvstylizer"} for name in folders}
    clashes = [f"{name} also belongs to {', '.join(sorted(who))}" for name, who in foreign.items() if who]
    if clashes:
        return Finding("package names", "missing", "; ".join(clashes), "Use an environment of its own")
    return Finding("package names", "ok", "ours alone")


def check_models() -> Finding:
    """The shipped bundle is there, and each file is what its manifest says."""
    from mvstylizer.bundle import ROLES, default_bundle, load_bundle

    try:
        bundle = load_bundle(default_bundle())
        for role in ROLES:
            bundle.file(role)
    except MVStylizerError as err:
        return Finding("models", "missing", err.message, err.hint)
    return Finding("models", "ok", f"{bundle.name} version {bundle.version} in {bundle.path}")


def check_video() -> Finding:
    """PyAV's FFmpeg decodes H.264 and HEVC and encodes H.264 and AAC."""
    try:
        import av
    except ImportError as err:
        return Finding("video", "missing", str(err), "Run: pip install --force-reinstall av")
    wanted = (("h264", "r"), ("hevc", "r"), ("libx264", "w"), ("aac", "w"))
    lacking = [
        f"{name} ({'decoder' if mode == 'r' else 'encoder'})" for name, mode in wanted if not _has(name, mode)
    ]
    if lacking:
        return Finding(
            "video", "missing", f"no {', '.join(lacking)}", "Install PyAV's own wheel: pip install av"
        )
    return Finding("video", "ok", f"PyAV {av.__version__}: h264, hevc, aac")


def check_kernels() -> Finding:
    """LiteRT loads the shipped kernels."""
    from mvstylizer.bundle import default_bundle, load_bundle

    try:
        from device_runtime.kernels import KeyFrameScore, Transfer, Warp

        bundle = load_bundle(default_bundle())
        KeyFrameScore(bundle.file("key_frame"))
        Warp(bundle.file("warp"), threads=1).close()
        Transfer(bundle.file("transfer"), threads=1).close()
    except (ImportError, MVStylizerError) as err:
        return Finding("kernels", "missing", str(err), "Run: pip install --force-reinstall ai-edge-litert")
    return Finding("kernels", "ok", "warp, transfer and key_frame run on LiteRT")


def check_server() -> Finding:
    """The bundled tritonserver, its stub for this Python and libpython are there."""
    try:
        from edge_triton.triton.bundled import BundledTriton

        triton = BundledTriton.find()
    except (ImportError, MVStylizerError) as err:
        return Finding("bundled Triton", "missing", str(err), getattr(err, "hint", ""))
    return Finding("bundled Triton", "ok", str(triton.server))


def check_shared_memory() -> Finding:
    """Triton's Python backend passes frames through shared memory."""
    return _space("shared memory", SHARED_MEMORY, MIN_SHARED_MEMORY, "Give the container --shm-size=256m")


def check_disk() -> Finding:
    """Room for the result and for the server's work folder."""
    return _space("disk", Path.cwd(), MIN_DISK, "Free some space, or work in another folder")


def check_libpython() -> Finding:
    """Python's shared library, to which the bundled server's stub is linked."""
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    name = f"libpython{version}.so.1.0"
    folders = (sysconfig.get_config_var("LIBDIR"), str(Path(sys.base_exec_prefix) / "lib"))
    beside = [str(Path(folder) / name) for folder in folders if folder and (Path(folder) / name).is_file()]
    found = beside[0] if beside else find_library(f"python{version}")
    if found:
        return Finding("libpython", "ok", found)
    mend = (
        f"Debian, Ubuntu: apt install libpython{version}; pyenv: build with --enable-shared; or use --local"
    )
    return Finding("libpython", "missing", f"no {name}", mend)


def check_ports() -> Finding:
    """The ports that the servers take by default."""
    taken = [port for port in PORTS if not _is_free(port)]
    if taken:
        mend = f"Use another: {'; '.join(PORTS[port] for port in taken)}"
        return Finding("ports", "absent", f"{', '.join(map(str, taken))} taken", mend)
    return Finding("ports", "ok", f"{', '.join(map(str, PORTS))} free")


def check_extras() -> Finding:
    """What the commands beside the main job need."""
    missing = [extra for extra, package in EXTRAS.items() if find_spec(package) is None]
    if missing:
        mend = f"For their commands: pip install 'mvstylizer[{','.join(missing)}]'"
        return Finding("extras", "absent", f"without {', '.join(missing)}", mend)
    return Finding("extras", "ok", ", ".join(EXTRAS))


def check_gpu() -> Finding:
    """An NVIDIA GPU: training and a container edge use one, the main job does not need it."""
    if shutil.which(NVIDIA_QUERY[0]) is None:
        return Finding("GPU", "absent", "no nvidia-smi", "Not needed; training is faster with one")
    try:
        asked = subprocess.run(NVIDIA_QUERY, capture_output=True, text=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired) as err:
        return Finding("GPU", "absent", f"nvidia-smi: {err}", "Check the NVIDIA driver")
    if asked.returncode:
        return Finding("GPU", "absent", (asked.stderr or asked.stdout).strip(), "Check the NVIDIA driver")
    return Finding("GPU", "ok", "; ".join(asked.stdout.split("\n")[:-1]))


def check_adb() -> Finding:
    """The adb client, for `mvstylizer bench device`."""
    adb = shutil.which("adb")
    if adb is None:
        return Finding(
            "adb", "absent", "not on PATH", "For a phone: apt-get install adb, or name it with --adb"
        )
    return Finding("adb", "ok", adb)


CHECKS: tuple[Callable[[], Finding], ...] = (
    check_python,
    check_names,
    check_models,
    check_video,
    check_kernels,
    check_libpython,
    check_server,
    check_shared_memory,
    check_disk,
    check_ports,
    check_gpu,
    check_adb,
    check_extras,
)


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as the servers do
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def _has(codec: str, mode: str) -> bool:
    import av.codec

    try:
        av.codec.Codec(codec, mode)  # type: ignore[arg-type]
    except av.codec.codec.UnknownCodecError:
        return False
    return True


def _space(name: str, folder: Path, least: int, mend: str) -> Finding:
    if not folder.is_dir():
        return Finding(name, "missing", f"{folder} does not exist", mend)
    free = shutil.disk_usage(folder).free
    found = f"{free / 1e6:.0f} MB free in {folder}"
    return Finding(name, "ok", found) if free >= least else Finding(name, "missing", found, mend)
