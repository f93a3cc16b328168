"""The TFLite kernels, which are the same for every checkpoint."""

from __future__ import annotations

import json
import shutil
from typing import Any

from export.cache import Cache
from export.onnx_models.weight_swap import BaseBundle
from export.parity.kernels import Kernel
from export.parity.latency import kernel_latency
from export.runtimes import gpu, hexagon
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
    draft.begin(path.name)
    if base is not None and kernel.size is None:
        shutil.copyfile(base.bundle.file(kernel.role), path)
        draft.add(base.bundle.spec(kernel.role))
        return
    if not kernel.cpu and (reason := gpu.why_missing()):
        draft.report(f"{path.name}: skipped, it cannot be checked here ({reason})")
        return
    content, figures, is_known = _built(kernel, draft.cache)
    path.write_bytes(content)
    spec = file_spec(draft.folder, kernel.role, path.name, kernel.inputs, kernel.outputs, **figures)
    draft.add(spec, " (from the cache)" if is_known else "")


def _built(kernel: Kernel, cache: Cache | None) -> tuple[bytes, dict[str, Any], bool]:
    """Build, check and time a kernel, or take all three from the cache.

    Returns:
        Content, figures of the manifest's row, and whether they are from the cache.
    """
    lanes = [lane.LANE for lane in (gpu, hexagon) if not lane.why_missing()]
    key = Cache.key("kernel", kernel.role, kernel.inputs, kernel.outputs, lanes)
    if cache is not None and (files := cache.get(key)) is not None:
        return files["kernel.tflite"], json.loads(files["figures.json"]), True
    content = kernel.build()
    figures = {
        "parity": rounded(kernel.check(content)),
        "cost": {"parameters": 0},
        "latency": kernel_latency(content, kernel),
        "delegates": rejections(content),
    }
    if cache is not None:
        cache.put(key, {"kernel.tflite": content, "figures.json": json.dumps(figures).encode()})
    return content, figures, False
