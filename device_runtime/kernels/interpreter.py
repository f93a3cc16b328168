"""TFLite interpreters: one, or a pool with a thread each."""

from __future__ import annotations

import ctypes
import os
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

import numpy as np
from ai_edge_litert.interpreter import Interpreter
from numpy.typing import NDArray

from device_runtime.kernels.float_model import float_model
from mvstylizer.errors import MVStylizerError

Job = TypeVar("Job")
Shape = tuple[int, ...]


class KernelError(MVStylizerError):
    """Error raised when a kernel file cannot be run, or a frame, flow or map has the wrong type or shape."""


class KernelInterpreter:
    """One interpreter whose inputs are resized, filled and read by name.

    Args:
        path: The TFLite file.
        threads: Cores per run. One is fastest for strips of a few thousand pixels.
        in_float: Take and give float32 instead of bytes; see `float_model`.

    Raises:
        KernelError: The file is missing or not a TFLite model.
    """

    def __init__(self, path: Path | str, *, threads: int = 1, in_float: bool = False) -> None:
        if not Path(path).is_file():
            raise KernelError(f"Kernel {path} is missing", "Copy the whole bundle folder again")
        try:
            content = Path(path).read_bytes()
            self._interpreter: Any = Interpreter(
                model_content=float_model(content) if in_float else content, num_threads=threads
            )
        except (RuntimeError, ValueError) as err:
            raise KernelError(
                f"Kernel {path} is not a TFLite model: {err}", "Export the bundle again"
            ) from err
        self._path = path
        self._inputs = {d["name"]: int(d["index"]) for d in self._interpreter.get_input_details()}
        self._outputs = {d["name"]: int(d["index"]) for d in self._interpreter.get_output_details()}
        self._memory: dict[str, NDArray[Any]] = {}

    @property
    def outputs(self) -> set[str]:
        """Names of the outputs."""
        return set(self._outputs)

    def resize(self, shapes: Mapping[str, Shape]) -> None:
        """Resize the named inputs and allocate; the contents of all tensors are lost.

        Raises:
            KernelError: The file has no such input, or rejects the shape.
        """
        self._memory = {}
        try:
            for name, shape in shapes.items():
                self._interpreter.resize_tensor_input(self._index(self._inputs, name), shape)
            self._interpreter.allocate_tensors()
        except (RuntimeError, ValueError) as err:
            raise KernelError(f"Kernel {self._path} rejects shapes {dict(shapes)}: {err}") from err

    def put(self, name: str, value: NDArray[Any]) -> None:
        """Copy `value` into an input. It is kept across invocations, until the next `resize`."""
        self._interpreter.set_tensor(self._index(self._inputs, name), value)

    def get(self, name: str) -> NDArray[Any]:
        """Return a copy of an input or output."""
        return self._interpreter.get_tensor(self._any(name))  # type: ignore[no-any-return]

    def tensor(self, name: str) -> NDArray[Any]:
        """Return a view of an input's or output's memory, to write or read between invocations.

        It is the same array until the next `resize` and must not be used after it. The runtime's own views
        must be dropped before every invocation, and fetching three or four of them per strip would cost as
        much as copying the strip. Only for graphs with static shapes once allocated; `get` works for any.

        Raises:
            KernelError: The file has no such input or output.
        """
        if name not in self._memory:
            borrowed = self._interpreter.tensor(self._any(name))()
            memory = (ctypes.c_ubyte * borrowed.nbytes).from_address(borrowed.ctypes.data)
            memory.owner = self._interpreter  # keeps it alive as long as the array
            self._memory[name] = np.frombuffer(memory, borrowed.dtype).reshape(borrowed.shape)
        return self._memory[name]

    def invoke(self) -> None:
        """Run the kernel on the current inputs, with the GIL released.

        Raises:
            KernelError: The runtime reports a failure.
        """
        try:
            self._interpreter.invoke()
        except (RuntimeError, ValueError) as err:
            raise KernelError(f"Kernel {self._path} failed: {err}") from err

    def _any(self, name: str) -> int:
        return self._index(self._inputs | self._outputs, name)

    def _index(self, tensors: dict[str, int], name: str) -> int:
        if name not in tensors:
            raise KernelError(
                f"Kernel {self._path} has no tensor {name} (it has {', '.join(sorted(tensors))})",
                "Use a bundle and a program of the same release",
            )
        return tensors[name]


class KernelPool:
    """Interpreters of one file that process the strips of a frame in parallel.

    Args:
        path: The TFLite file.
        threads: Number of interpreters and threads; defaults to one per core, at most 4.
        in_float: See `KernelInterpreter`.

    Raises:
        KernelError: The file cannot be loaded, or `threads` is below 1.
    """

    def __init__(self, path: Path | str, threads: int | None = None, *, in_float: bool = False) -> None:
        count = min(4, os.cpu_count() or 1) if threads is None else threads
        if count < 1:
            raise KernelError(f"threads is {count}; it must be at least 1")
        self.interpreters: Sequence[KernelInterpreter] = [
            KernelInterpreter(path, in_float=in_float) for _ in range(count)
        ]
        self._threads = ThreadPoolExecutor(count - 1, "kernel") if count > 1 else None

    def run(self, jobs: Iterable[Job], do: Callable[[KernelInterpreter, Job], None]) -> None:
        """Call ``do(interpreter, job)`` for every job; each idle interpreter takes the next one.

        Raises:
            Exception: The first error raised by a job.
        """
        queue = deque(jobs)  # popleft is thread-safe

        def work(interpreter: KernelInterpreter) -> None:
            while True:
                try:
                    job = queue.popleft()
                except IndexError:
                    return
                do(interpreter, job)

        helpers = self.interpreters[1:] if self._threads else []
        started = [self._threads.submit(work, each) for each in helpers] if self._threads else []
        try:
            work(self.interpreters[0])
        finally:
            errors = [future.exception() for future in started]
        for error in errors:
            if error is not None:
                raise error

    def close(self) -> None:
        """Stop the threads."""
        if self._threads:
            self._threads.shutdown()

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop the threads."""
        self.close()


def check_image(image: NDArray[np.uint8], name: str) -> None:
    """Check that an image is a non-empty uint8 array (H, W, 3).

    Raises:
        KernelError: It is not; the message contains `name`, dtype and shape.
    """
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or 0 in image.shape:
        raise KernelError(f"{name} is {image.dtype} {image.shape}, not uint8 (height, width, 3)")


def check_finite(values: NDArray[np.float32], name: str) -> None:
    """Check that all values are finite: an index computed from NaN or infinity would be out of bounds.

    Raises:
        KernelError: Some are not; the message contains their number.
    """
    bad = values.size - int(np.count_nonzero(np.isfinite(values)))
    if bad:
        raise KernelError(f"{name} has {bad} values of {values.size} that are not finite")


def balanced(length: int, limit: int) -> int:
    """Return the size of equal parts, at most `limit` long, that cover `length` with the least overlap."""
    parts = -(-length // max(1, min(length, limit)))
    return -(-length // parts)
