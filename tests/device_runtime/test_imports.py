from __future__ import annotations

import subprocess
import sys

FORBIDDEN = (
    "torch",
    "tensorflow",
    "onnx",
    "training",
    "flwr",
    "edge_triton.triton.repository",
    "edge_triton.triton.server",
)

PROGRAM = """
import importlib, pkgutil, sys
import device_runtime
for module in pkgutil.walk_packages(device_runtime.__path__, "device_runtime."):
    importlib.import_module(module.name)
print(*sorted(sys.modules))
"""


def test_the_phone_side_imports_no_training_and_no_server() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    assert {"device_runtime.pipeline", "device_runtime.kernels.warp", "edge_triton.client.client"} <= loaded
    assert not loaded & set(FORBIDDEN)
    assert not {name for name in loaded if name.startswith("export")}
