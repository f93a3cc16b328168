"""The GPU's verification lane: LiteRT's own GPU delegate, on a software Vulkan where there is no GPU.

Vulkan comes from
``VK_ICD_FILENAMES`` where that is set, else from SwiftShader in Debian's ``chromium-common``, which computes
in float32: this lane shows what the delegate takes and whether it computes it right, not what float16 loses.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from export.runtimes.case import Array, Case
from export.runtimes.subprocess_runner import run_worker

LANE = "GPU delegate"
CHROMIUM = Path("/usr/lib/chromium")


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
    return run_worker("export.runtimes.gpu_worker", LANE, content, cases, _environment())


def _environment() -> dict[str, str]:
    environment = dict(os.environ)
    if "VK_ICD_FILENAMES" not in environment:
        environment["VK_ICD_FILENAMES"] = str(CHROMIUM / "vk_swiftshader_icd.json")
        # Debian's package carries the Vulkan loader too; machines without a GPU rarely have another.
        known = environment.get("LD_LIBRARY_PATH")
        environment["LD_LIBRARY_PATH"] = f"{known}:{CHROMIUM}" if known else str(CHROMIUM)
    return environment
