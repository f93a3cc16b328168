"""What Triton is told of one model version, whoever runs it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from mvstylizer.bundle import TensorSpec

Backend = Literal["python", "onnxruntime"]

MAX_PIXELS = 7680 * 4320
"""Default limit of an image's pixels, before and after upscaling: one 8K frame."""

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")


@dataclass(frozen=True)
class QueuePolicy:
    """What waits inside Triton; whoever comes to a full queue, or waits too long, is refused (UNAVAILABLE).

    A gateway never lets so many in; this is for a Triton that is used without one.

    Attributes:
        most: Requests that wait.
        longest_s: How long one waits, in seconds.
    """

    most: int = 64
    longest_s: float = 60.0


@dataclass(frozen=True)
class TensorRt:
    """ONNX Runtime's TensorRT provider, with one explicit shape profile.

    An engine is built for it when a version is loaded, which takes minutes; an image outside the profile
    would start another build in the middle of a request.

    Attributes:
        smallest: Shortest side of an image, in pixels.
        usual: (height, width) that the engine is tuned for.
        largest: Longest side of an image, in pixels.
        precision: What convolutions may be computed in.
        cache: Folder that keeps built engines; None = they are built at each start.
    """

    smallest: int = 64
    usual: tuple[int, int] = (1080, 1920)
    largest: int = 3840
    precision: Literal["FP32", "FP16"] = "FP32"
    cache: Path | None = None

    def __post_init__(self) -> None:
        if not 0 < self.smallest <= min(self.usual) <= max(self.usual) <= self.largest:
            raise ValueError(f"{self.smallest}, {self.usual} and {self.largest} are no range of sizes")


@dataclass(frozen=True)
class ModelSpec:
    """One model version to serve.

    Attributes:
        name: Triton model name.
        onnx: ONNX file, copied into the repository.
        inputs: Input tensors, in order, leading 1 included.
        outputs: Output tensors, in order, leading 1 included.
        version: Model version, from 1.
        queue: What waits inside Triton.
        warm_up: (height, width) of images that an instance makes before it counts as ready.
        tensorrt: Use TensorRT (onnxruntime backend on a GPU); None = CUDA, or the CPU where there is none.
        resident: Versions that the config serves, all of which must be in the repository; empty = this one.
        backend: Which backend runs it.
        instances: Instances that work side by side.
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
                raise ValueError(f"name {name!r} may have letters, digits, '_', '.' and '-' only")
        if (
            min(self.version, *self.served) < 1
            or self.instances < 1
            or self.threads < 0
            or self.max_pixels < 1
        ):
            raise ValueError(f"version, instances, threads or max_pixels of {self.name!r} is out of range")
        if self.tensorrt is not None and self.backend != "onnxruntime":
            raise ValueError(f"only the onnxruntime backend knows TensorRT, not {self.backend}")

    @property
    def served(self) -> tuple[int, ...]:
        """The versions that the config serves."""
        return self.resident or (self.version,)
