"""Callers of the phone's TFLite kernels, for frames of any size; ai-edge-litert is all they need."""

from device_runtime.kernels.interpreter import KernelError
from device_runtime.kernels.key_frame import KeyFrameDecision, KeyFrameScore
from device_runtime.kernels.transfer import Transfer
from device_runtime.kernels.warp import Warp

__all__ = ["KernelError", "KeyFrameDecision", "KeyFrameScore", "Transfer", "Warp"]
