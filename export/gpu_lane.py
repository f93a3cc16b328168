"""The GPU's verification lane: LiteRT's own GPU delegate, on a software Vulkan where there is no GPU.

It runs in a process of its own, since a driver that fails takes its process along. Vulkan comes from
``VK_ICD_FILENAMES`` where that is set, else from SwiftShader in Debian's ``chromium-common``, which computes
in float32: this lane shows what the delegate takes and whether it computes it right, not what float16 loses.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from export.case import Array, Case
from export.gpu_worker import NOT_WHOLE
from export.lanes import LaneError

LANE = "GPU delegate"
CHROMIUM = Path("/usr/lib/chromium")
_LIMIT_S = 300


def why_missing() -> str | None:
    """Return why this machine cannot run the lane, None where it can."""
    if os.environ.get("VK_ICD_FILENAMES") or (CHROMIUM / "vk_swiftshader_icd.json").is_file():
        return None
    return "no Vulkan here: install chromium-common, or name a driver with VK_ICD_FILENAMES"


def run_on_gpu(content: bytes, cases: Sequence[Case]) -> list[list[Array]]:
    """Run a TFLite file on all cases and return the outputs of each, in order.

    Raises:
        LaneError: The delegate refuses the file or takes only a part of it, or the driver fails.
    """
    with tempfile.TemporaryDirectory() as folder:
        file, source, target = (str(Path(folder) / name) for name in ("k.tflite", "in.npz", "out.npz"))
        Path(file).write_bytes(content)
        tensors = {f"{i}/{name}": v for i, case in enumerate(cases) for name, v in case.inputs.items()}
        np.savez(source, **tensors)
        command = [sys.executable, "-m", "export.gpu_worker", file, source, target]
        try:
            done = subprocess.run(
                command, env=_environment(), capture_output=True, text=True, timeout=_LIMIT_S, check=False
            )
        except subprocess.TimeoutExpired as err:
            raise LaneError(f"The {LANE} did not finish in {_LIMIT_S} s") from err
        if done.returncode == NOT_WHOLE:
            raise LaneError(f"The {LANE} takes only a part of the graph")
        if done.returncode:
            raise LaneError(f"The {LANE} failed: {_reason(done.stderr)}")
        with np.load(target) as stored:
            outputs = [name.split("/") for name in stored.files]
            return [
                [stored[f"{i}/{number}"] for case, number in outputs if case == str(i)]
                for i in range(len(cases))
            ]


def _environment() -> dict[str, str]:
    environment = dict(os.environ)
    if "VK_ICD_FILENAMES" not in environment:
        environment["VK_ICD_FILENAMES"] = str(CHROMIUM / "vk_swiftshader_icd.json")
        # Debian's package carries the Vulkan loader too; machines without a GPU rarely have another.
        known = environment.get("LD_LIBRARY_PATH")
        environment["LD_LIBRARY_PATH"] = f"{known}:{CHROMIUM}" if known else str(CHROMIUM)
    return environment


def _reason(log: str) -> str:
    errors = [line for line in log.splitlines() if "ERROR" in line or "Error" in line]
    return (errors or log.splitlines() or ["no message"])[-1].strip()
