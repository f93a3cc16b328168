"""The phone side on arm64 against the same code here: `make test-arm64`."""

from __future__ import annotations

import json
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from device_runtime.bench.kernel_case import make_case
from device_runtime.bench.plan import KERNELS, RESOLUTIONS, plan
from device_runtime.pack.download import PLATFORMS
from edge_triton.triton.server import TritonServer
from mvstylizer.bundle import Bundle, default_bundle, load_bundle
from tests.arm64.qemu import Arm64

ROOT = Path(__file__).parents[2]
STYLE = ROOT / "samples/dusk.jpg"
WORKER = Path(__file__).with_name("run_graphs.py")
NETWORK = ("style_encoder_tflite", "look_tflite")

pytestmark = [pytest.mark.long, pytest.mark.xdist_group("arm64")]


def frames(path: Path) -> Iterator[NDArray[np.uint8]]:
    with av.open(str(path)) as container:
        for frame in container.decode(video=0):
            yield frame.to_ndarray(format="rgb24")


def psnr(left: Path, right: Path) -> list[float]:
    """PSNR of each frame in dB."""
    errors = [
        float(np.mean((a.astype(np.float64) - b) ** 2))
        for a, b in zip(frames(left), frames(right), strict=True)
    ]
    return [10 * np.log10(255**2 / max(error, 1e-9)) for error in errors]


def test_doctor_finds_nothing_missing(arm64: Arm64, tmp_path: Path) -> None:
    done = arm64.python("-m", "mvstylizer_cli", "doctor", "--json", folder=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    verdicts = {row["name"]: row["verdict"] for row in json.loads(done.stdout)["findings"]}
    assert "missing" not in verdicts.values()
    assert verdicts["bundled Triton"] == "absent"
    assert {verdicts[name] for name in ("python", "models", "video", "kernels")} == {"ok"}


def graph_inputs(bundle: Bundle) -> dict[str, NDArray[np.generic]]:
    """Inputs of every graph that a CPU runs, in both lanes."""
    inputs = {}
    for config in plan(KERNELS, RESOLUTIONS[:1], ("cpu", "npu"), (1,)):  # not the GPU's own operator
        case = make_case(bundle, *config[:3])
        for lane in ("builtin", "xnnpack"):
            for name, value in case.inputs.items():
                inputs[f"{bundle.spec(case.role).path}|{lane}|{name}"] = value
    return inputs


def test_every_kernel_and_the_lite_network_compute_the_same(arm64: Arm64, tmp_path: Path) -> None:
    bundle = load_bundle(default_bundle("lite"))
    inputs = graph_inputs(bundle)
    np.savez(tmp_path / "inputs.npz", **inputs)
    there = arm64.python(WORKER, tmp_path / "inputs.npz", tmp_path / "there.npz", folder=bundle.path)
    assert there.returncode == 0, there.stderr
    here = [sys.executable, WORKER, tmp_path / "inputs.npz", tmp_path / "here.npz"]
    subprocess.run(here, cwd=bundle.path, check=True)
    with np.load(tmp_path / "there.npz") as found, np.load(tmp_path / "here.npz") as expected:
        assert set(found) == set(expected)
        assert len({key.split("|")[0] for key in found}) == 7
        network = {spec.path for spec in bundle.files if spec.role in NETWORK}
        for key in expected:
            path, _, tensor = key.split("|")
            if tensor == "lut":  # colors from 0 to 1
                assert 255 * np.abs(found[key] - expected[key]).max() <= 1
            elif path in network:
                np.testing.assert_allclose(found[key], expected[key], atol=1e-3 * np.abs(expected[key]).max())
            elif "_accel_" in path:  # gray levels that are not rounded: arm64 fuses multiplications and sums
                np.testing.assert_allclose(found[key], expected[key], atol=1e-3)
            else:
                np.testing.assert_array_equal(found[key], expected[key], key)


@pytest.mark.parametrize("interpolation", ["transfer", "warp"])
def test_a_local_run_gives_the_same_frames(
    arm64: Arm64, clip: Path, tmp_path: Path, interpolation: str
) -> None:
    words = ["-m", "mvstylizer_cli", "stylize", str(clip), "--style", str(STYLE), "--local", "--crf", "0"]
    words += ["--interpolation", interpolation, "--json", "--out"]
    there = arm64.python(*words, tmp_path / "there.mp4", folder=tmp_path)
    assert there.returncode == 0, there.stderr
    here = [sys.executable, *words, str(tmp_path / "here.mp4")]
    done = subprocess.run(here, cwd=ROOT, capture_output=True, text=True, check=True)
    report, expected = json.loads(there.stdout), json.loads(done.stdout)
    for key in ("frames", "key_frame_indices", "width", "height", "edge_output"):
        assert report[key] == expected[key]
    assert min(psnr(tmp_path / "there.mp4", tmp_path / "here.mp4")) >= 50


@pytest.mark.server
def test_a_run_with_an_edge_gives_the_same_frames(arm64: Arm64, clip: Path, tmp_path: Path) -> None:
    words = ["-m", "mvstylizer_cli", "stylize", str(clip), "--style", str(STYLE), "--crf", "0", "--json"]
    with TritonServer(default_bundle()) as server:
        words += ["--edge", server.address, "--no-fallback", "--out"]
        there = arm64.python(*words, tmp_path / "there.mp4", folder=tmp_path)
        assert there.returncode == 0, there.stderr
        here = [sys.executable, *words, str(tmp_path / "here.mp4")]
        subprocess.run(here, cwd=ROOT, capture_output=True, check=True)
    assert json.loads(there.stdout)["bytes_received"] > 0
    assert min(psnr(tmp_path / "there.mp4", tmp_path / "here.mp4")) >= 50


def test_a_plain_install_finds_every_package_for_arm64(tmp_path: Path) -> None:
    """pip resolves the default dependencies for aarch64, without installing them."""
    wanted = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    platforms = [f"--platform={platform}" for platform in PLATFORMS]
    target = ["--target", str(tmp_path), "--only-binary=:all:", "--python-version=3.11", "--dry-run"]
    report = ["--report", str(tmp_path / "report.json"), "--quiet", "--ignore-installed"]
    pins = ["--constraint", str(ROOT / "requirements.lock")]
    command = [sys.executable, "-m", "pip", "install", *target, *platforms, *report, *pins, *wanted]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    names = {row["metadata"]["name"] for row in json.loads((tmp_path / "report.json").read_text())["install"]}
    assert names >= {"numpy", "av", "ai-edge-litert", "opencv-python-headless", "onnxruntime", "tritonclient"}
    assert not names & {"nvidia-pytriton", "torch", "tensorflow"}
