"""The software and the machine that a bundle is exported with."""

from __future__ import annotations

import os
import platform
from importlib import metadata
from pathlib import Path
from typing import Any

TOOLS = ("torch", "onnx", "onnxscript", "onnxruntime", "tensorflow", "ai-edge-litert", "numpy")


def tools() -> dict[str, str]:
    """Return the versions of Python and of the converters."""
    return {"python": platform.python_version(), **{name: metadata.version(name) for name in TOOLS}}


def machine() -> dict[str, Any]:
    """Return operating system, processor and number of cores."""
    return {"system": platform.system(), "cpu": _cpu(), "cores": os.cpu_count()}


def _cpu() -> str:
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
