"""``mvstylizer doctor``: what is missing on this machine and how to fix it.

Every check tries the real thing (loads the codec, finds the server, binds the port) instead of comparing
version numbers. Heavy imports are inside the checks: a broken package is a finding, not a crash.
"""

from __future__ import annotations

import platform
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

from mvstylizer.errors import MVStylizerError

Verdict = Literal["ok", "missing", "absent"]
SHARED_MEMORY = Path("/dev/shm")
MIN_SHARED_MEMORY = 64 << 20  # a few 1080p frames in flight
MIN_DISK = 2 << 30
SERVERS = ("x86_64", "AMD64")  # machines that are expected to run the bundled Triton
MIN_PYTHON, MAX_PYTHON = (3, 11), (3, 13)
# Default port -> the command that uses it, with another port.
PORTS = {
    8001: "mvstylizer serve --port 8101",
    8002: "mvstylizer serve --health 127.0.0.1:8102",
    8765: "mvstylizer studio --port 8865",
    9443: "mvstylizer federate cloud --port 9543 ...",
}
FOLDERS = ("training", "export", "edge_triton", "device_runtime", "fl", "benchmarks", "studio")
EXTRAS = {
    "train": "torch",
    "export": "tensorflow",
    "fl": "flwr",
    "bench": "matplotlib",
    "studio": "starlette",
}
NVIDIA_QUERY = ("nvidia-smi", "--query-gpu=name,memory.total", "--format=csv,noheader")


@dataclass(frozen=True)
class Finding:
    """The outcome of one check.

    Attributes:
        name: What was checked.
        verdict: ``ok``; ``missing``: `stylize` needs it; ``absent``: only some commands need it.
        found: What is there.
        fix: What to do; empty if there is nothing to fix.
    """

    name: str
    verdict: Verdict
    found: str
    fix: str = ""

    def as_dict(self) -> dict[str, Any]:
        """Return the fields as JSON-compatible values."""
        return asdict(self)


def examine() -> list[Finding]:
    """Run every check, in the order in which a user would fix things."""
    return [check() for check in CHECKS]


def check_python() -> Finding:
    """Python is a version for which the kit is tested."""
    found = ".".join(map(str, sys.version_info[:3]))
    if MIN_PYTHON <= sys.version_info[:2] <= MAX_PYTHON:
        return Finding("python", "ok", found)
    return Finding("python", "missing", found, "Use Python 3.11, 3.12 or 3.13")


def check_names() -> Finding:
    """No other installed package contains one of our top-level folders."""
    from importlib.metadata import packages_distributions

    owners = packages_distributions()
    foreign = {name: set(owners.get(name, ())) - {"mvstylizer"} for name in FOLDERS}
    clashes = [f"{name} also belongs to {', '.join(sorted(who))}" for name, who in foreign.items() if who]
    if clashes:
        return Finding(
            "package names", "missing", "; ".join(clashes), "Install the kit in a separate environment"
        )
    return Finding("package names", "ok", "no clash")


def check_models() -> Finding:
    """The bundled model is complete, and each file matches its manifest."""
    from mvstylizer.bundle import ROLES, default_bundle, load_bundle

    # Without ONNX Runtime, as on a phone, the model's network runs on an edge.
    on_edge = () if find_spec("onnxruntime") else ("style_encoder", "stylizer")
    try:
        bundle = load_bundle(default_bundle())
        for role in ROLES:
            if role not in on_edge:
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
    """LiteRT loads the bundled kernels."""
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
    """The bundled tritonserver is installed, with the Python that it embeds."""
    try:
        from edge_triton.triton.environment import ServerEnvironment

        environment = ServerEnvironment.find()
    except (ImportError, MVStylizerError) as err:
        found, fix = getattr(err, "message", str(err)), getattr(err, "hint", "")
        # A phone uses an edge or --local, so it lacks nothing.
        verdict: Verdict = "missing" if platform.machine() in SERVERS else "absent"
        return Finding("bundled Triton", verdict, found, fix)
    return Finding("bundled Triton", "ok", f"{environment.folder} (Python {environment.python})")


def check_server_python() -> Finding:
    """A Python that the bundled tritonserver can embed: the right version, with its shared library."""
    try:
        from edge_triton.triton.interpreter import find_interpreter

        interpreter = find_interpreter()
    except (ImportError, MVStylizerError) as err:
        found, fix = getattr(err, "message", str(err)), getattr(err, "hint", "")
        return Finding("Triton's Python", "absent", found, fix)
    return Finding("Triton's Python", "ok", f"{interpreter.path} ({interpreter.version})")


def check_shared_memory() -> Finding:
    """Triton's Python backend passes frames through shared memory."""
    return _space(
        "shared memory", SHARED_MEMORY, MIN_SHARED_MEMORY, "Start the container with --shm-size=256m"
    )


def check_disk() -> Finding:
    """Free space for the result and the server's working folder."""
    return _space("disk", Path.cwd(), MIN_DISK, "Free some space, or work in another folder")


def check_ports() -> Finding:
    """The servers' default ports are free."""
    taken = [port for port in PORTS if not _is_free(port)]
    if taken:
        fix = f"Use another: {'; '.join(PORTS[port] for port in taken)}"
        return Finding("ports", "absent", f"{', '.join(map(str, taken))} taken", fix)
    return Finding("ports", "ok", f"{', '.join(map(str, PORTS))} free")


def check_extras() -> Finding:
    """The packages that only some commands need."""
    missing = [extra for extra, package in EXTRAS.items() if find_spec(package) is None]
    if missing:
        fix = f"For their commands, run: pip install 'mvstylizer[{','.join(missing)}]'"
        return Finding("extras", "absent", f"without {', '.join(missing)}", fix)
    return Finding("extras", "ok", ", ".join(EXTRAS))


def check_gpu() -> Finding:
    """An NVIDIA GPU, which speeds up training and an edge in a container; `stylize` does not need one."""
    if shutil.which(NVIDIA_QUERY[0]) is None:
        return Finding("GPU", "absent", "no nvidia-smi", "Optional: training is faster with one")
    try:
        done = subprocess.run(NVIDIA_QUERY, capture_output=True, text=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired) as err:
        return Finding("GPU", "absent", f"nvidia-smi: {err}", "Check the NVIDIA driver")
    if done.returncode:
        return Finding("GPU", "absent", (done.stderr or done.stdout).strip(), "Check the NVIDIA driver")
    return Finding("GPU", "ok", "; ".join(done.stdout.split("\n")[:-1]))


def check_adb() -> Finding:
    """The adb client, for `mvstylizer bench device`."""
    adb = shutil.which("adb")
    if adb is None:
        return Finding(
            "adb",
            "absent",
            "not on PATH",
            "To measure on a phone: apt-get install adb, or pass its path with --adb",
        )
    return Finding("adb", "ok", adb)


CHECKS: tuple[Callable[[], Finding], ...] = (
    check_python,
    check_names,
    check_models,
    check_video,
    check_kernels,
    check_server_python,
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


def _space(name: str, folder: Path, least: int, fix: str) -> Finding:
    if not folder.is_dir():
        return Finding(name, "missing", f"{folder} does not exist", fix)
    free = shutil.disk_usage(folder).free
    found = f"{free / 1e6:.0f} MB free in {folder}"
    return Finding(name, "ok", found) if free >= least else Finding(name, "missing", found, fix)
