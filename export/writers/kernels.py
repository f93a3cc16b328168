"""The TFLite kernels, which are the same for every checkpoint."""

from __future__ import annotations

import shutil
from functools import cache
from typing import Any

from export.onnx_models.weight_swap import BaseBundle
from export.parity.kernels import Kernel
from export.parity.latency import kernel_latency
from export.runtimes import gpu
from export.runtimes.delegate_lint import rejections
from export.runtimes.difference import rounded
from export.writers.draft import Draft
from mvstylizer.bundle import file_spec


def write_kernel(draft: Draft, kernel: Kernel, base: BaseBundle | None) -> None:
    """Write and check a kernel; skip one that no runtime on this machine can check.

    Args:
        draft: The bundle.
        kernel: What to write.
        base: A bundle to copy the kernels for any frame size from; None builds them.

    Raises:
        ParityError, LaneError, GraphError: See `Kernel.check`.
    """
    path = draft.folder / f"{kernel.role}.tflite"
    if base is not None and kernel.size is None:
        shutil.copyfile(base.bundle.file(kernel.role), path)
        draft.add(base.bundle.spec(kernel.role))
        return
    if not kernel.cpu and (reason := gpu.why_missing()):
        draft.report(f"{path.name}: skipped, it cannot be checked here ({reason})")
        return
    content, parity, latency = _built(kernel)
    path.write_bytes(content)
    spec = file_spec(
        draft.folder,
        kernel.role,
        path.name,
        kernel.inputs,
        kernel.outputs,
        parity=rounded(parity),
        cost={"parameters": 0},
        latency=latency,
        delegates=rejections(content),
    )
    draft.add(spec)


@cache
def _built(kernel: Kernel) -> tuple[bytes, dict[str, Any], dict[str, Any]]:
    """Build, check and time a kernel once per process; return content, parity row and latency row."""
    content = kernel.build()
    return content, kernel.check(content), kernel_latency(content, kernel)
