"""The GPU's verification lane: LiteRT's own GPU delegate, on software Vulkan where there is no GPU.

The Vulkan driver is the one that ``VK_ICD_FILENAMES`` names, else SwiftShader from Debian's
``chromium-common``. SwiftShader computes in float32, so this lane shows whether the delegate accepts a file
and computes it correctly, but not the rounding errors of float16.

The delegate runs in a subprocess: ``python -m export.runtimes.gpu FILE INPUTS.npz OUTPUTS.npz``.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from export.runtimes.difference import Array, Case
from export.runtimes.subprocess_runner import NOT_WHOLE, read_cases, run_worker, write_outputs

LANE = "GPU delegate"
CHROMIUM = Path("/usr/lib/chromium")


def why_missing() -> str | None:
    """Return why this machine cannot run the lane, None where it can."""
    if os.environ.get("VK_ICD_FILENAMES") or (CHROMIUM / "vk_swiftshader_icd.json").is_file():
        return None
    return "no Vulkan driver: install chromium-common, or name a driver with VK_ICD_FILENAMES"


def run_on_gpu(content: bytes, cases: Sequence[Case]) -> list[list[Array]]:
    """Run a TFLite file on all cases and return the outputs of each, in order.

    Raises:
        LaneError: The delegate rejects the file or part of it, or the driver fails.
    """
    return run_worker("export.runtimes.gpu", LANE, content, cases, _environment())


def _environment() -> dict[str, str]:
    environment = dict(os.environ)
    if "VK_ICD_FILENAMES" not in environment:
        environment["VK_ICD_FILENAMES"] = str(CHROMIUM / "vk_swiftshader_icd.json")
        # Debian's package includes the Vulkan loader, which machines without a GPU rarely have otherwise.
        known = environment.get("LD_LIBRARY_PATH")
        environment["LD_LIBRARY_PATH"] = f"{known}:{CHROMIUM}" if known else str(CHROMIUM)
    return environment


def _work(file: str, source: str, target: str) -> int:
    """Run all cases of `source` in this process and write `target`; return the exit code."""
    from ai_edge_litert.compiled_model import CompiledModel
    from ai_edge_litert.hardware_accelerator import HardwareAccelerator

    model = CompiledModel.from_file(file, hardware_accel=HardwareAccelerator.GPU)
    if not model.is_fully_accelerated():
        return NOT_WHOLE
    write_outputs(target, {case: _run(model, inputs) for case, inputs in read_cases(source).items()})
    return 0


def _run(model: Any, inputs: dict[str, Array]) -> list[Array]:
    """Run one case and return the outputs in order, float32."""
    key = next(iter(model.get_signature_list()))
    signature = model.get_signature_by_index(0)
    sources, targets = model.create_input_buffers(0), model.create_output_buffers(0)
    for name, buffer in zip(signature["inputs"], sources, strict=True):
        buffer.write(np.ascontiguousarray(inputs[name]))
    model.run_by_index(0, sources, targets)
    details = model.get_output_tensor_details(key)
    found = []
    for name, buffer in zip(signature["outputs"], targets, strict=True):
        shape = tuple(details[name]["shape"])
        found.append(buffer.read(int(np.prod(shape)), np.float32).reshape(shape))
    return found


if __name__ == "__main__":
    sys.exit(_work(*sys.argv[1:]))
