"""One model version as Triton serves it, whichever backend runs it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from mvstylizer.bundle import TensorSpec

Backend = Literal["python", "onnxruntime"]

MAX_PIXELS = 7680 * 4320
"""Default limit of pixels per image, before and after upscaling: one 8K frame."""

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")


@dataclass(frozen=True)
class QueuePolicy:
    """Limits of the queue inside Triton; requests over a limit are rejected with UNAVAILABLE.

    The gateway's own limits are lower; these protect a Triton that is used without one.

    Attributes:
        max_requests: Queued requests.
        timeout_s: Time that a request may wait, in seconds.
    """

    max_requests: int = 64
    timeout_s: float = 60.0


@dataclass(frozen=True)
class TensorRt:
    """ONNX Runtime's TensorRT provider, with one explicit shape profile.

    Loading a version builds an engine for the profile, which takes minutes; an image outside the profile
    would start another build in the middle of a request.

    Attributes:
        min_side: Shortest side of an image, in pixels.
        optimal_size: (height, width) that the engine is tuned for.
        max_side: Longest side of an image, in pixels.
        precision: Lowest precision of convolutions.
        cache: Folder for built engines; None = engines are built at each start.
    """

    min_side: int = 64
    optimal_size: tuple[int, int] = (1080, 1920)
    max_side: int = 3840
    precision: Literal["FP32", "FP16"] = "FP32"
    cache: Path | None = None

    def __post_init__(self) -> None:
        sizes = (self.min_side, *sorted(self.optimal_size), self.max_side)
        if self.min_side < 1 or list(sizes) != sorted(sizes):
            raise ValueError(f"{sizes} is not a range of sizes")


@dataclass(frozen=True)
class ModelSpec:
    """One model version to serve.

    Attributes:
        name: Triton model name.
        onnx: ONNX file, copied into the repository.
        inputs: Input tensors, in order, leading 1 included.
        outputs: Output tensors, in order, leading 1 included.
        version: Model version, from 1.
        queue: Limits of the queue inside Triton.
        warm_up: (height, width) of images that an instance stylizes before it is ready.
        tensorrt: Use TensorRT (onnxruntime backend on a GPU); None = CUDA, or the CPU without a GPU.
        resident: Versions that the config serves; each must be in the repository; empty = this version only.
        backend: Backend that runs it.
        instances: Number of parallel instances.
        threads: ONNX Runtime threads of one instance; 0 = one per core.
        max_pixels: Most pixels of an image, before and after upscaling (python backend).
    """

    name: str
    onnx: Path
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    version: int = 1
    backend: Backend = "python"
    instances: int = 1
    threads: int = 0
    max_pixels: int = MAX_PIXELS
    resident: tuple[int, ...] = ()
    queue: QueuePolicy = QueuePolicy()
    warm_up: tuple[tuple[int, int], ...] = ()
    tensorrt: TensorRt | None = None

    def __post_init__(self) -> None:
        for tensor in ("", *self.inputs, *self.outputs):
            name = tensor.name if isinstance(tensor, TensorSpec) else self.name
            if not _NAME.fullmatch(name):
                raise ValueError(f"name {name!r} may only contain letters, digits, '_', '.' and '-'")
        if (
            min(self.version, *self.served) < 1
            or self.instances < 1
            or self.threads < 0
            or self.max_pixels < 1
        ):
            raise ValueError(f"version, instances, threads or max_pixels of {self.name!r} is out of range")
        if self.tensorrt is not None and self.backend != "onnxruntime":
            raise ValueError(f"TensorRT needs the onnxruntime backend, not {self.backend}")

    @property
    def served(self) -> tuple[int, ...]:
        """The versions that the config serves."""
        return self.resident or (self.version,)
