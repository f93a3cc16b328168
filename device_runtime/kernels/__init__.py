"""Python callers of the TFLite kernels, for frames of any size. They only need ai-edge-litert.

Usage:
    with Transfer(bundle.file("transfer")) as transfer:
        styled = transfer(frame, grid)
"""

from device_runtime.kernels.interpreter import KernelError
from device_runtime.kernels.key_frame import KeyFrameScore, KeyFrameScoreResult
from device_runtime.kernels.transfer import Transfer
from device_runtime.kernels.warp import Warp

__all__ = ["KernelError", "KeyFrameScore", "KeyFrameScoreResult", "Transfer", "Warp"]
