"""One TFLite file in one or several interpreters, each on its own thread."""

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

from mvstylizer.errors import MVStylizerError

Job = TypeVar("Job")
Shape = tuple[int, ...]


class KernelError(MVStylizerError):
    """A kernel file cannot be run, or a frame, flow or map is not what the kernel takes."""


class KernelInterpreter:
    """One interpreter whose inputs are resized, filled and read by name.

    Args:
        path: The TFLite file.
        threads: Cores for one run. One suits strips of a few thousand pixels, where more lose.

    Raises:
        KernelError: The file is missing or no TFLite model.
    """

    def __init__(self, path: Path | str, *, threads: int = 1) -> None:
        if not Path(path).is_file():
            raise KernelError(f"Kernel {path} is missing", "Copy the whole bundle folder again")
        try:
            self._interpreter: Any = Interpreter(model_path=str(path), num_threads=threads)
        except (RuntimeError, ValueError) as err:
            raise KernelError(f"Kernel {path} is no TFLite model: {err}", "Export the bundle again") from err
        self._path = path
        self._inputs = {d["name"]: int(d["index"]) for d in self._interpreter.get_input_details()}
        self._outputs = {d["name"]: int(d["index"]) for d in self._interpreter.get_output_details()}
        self._memory: dict[str, NDArray[Any]] = {}

    def resize(self, shapes: Mapping[str, Shape]) -> None:
        """Give the named inputs these shapes and allocate; the content of all tensors is lost.

        Raises:
            KernelError: The file has no such input, or refuses the shape.
        """
        self._memory = {}
        try:
            for name, shape in shapes.items():
                self._interpreter.resize_tensor_input(self._index(self._inputs, name), shape)
            self._interpreter.allocate_tensors()
        except (RuntimeError, ValueError) as err:
            raise KernelError(f"Kernel {self._path} refuses shapes {dict(shapes)}: {err}") from err

    def put(self, name: str, value: NDArray[Any]) -> None:
        """Copy `value` into an input. It stays there over invocations, until the next `resize`."""
        self._interpreter.set_tensor(self._index(self._inputs, name), value)

    def get(self, name: str) -> NDArray[Any]:
        """Return a copy of an input or output."""
        return self._interpreter.get_tensor(self._any(name))  # type: ignore[no-any-return]

    def tensor(self, name: str) -> NDArray[Any]:
        """Return the memory of an input or output itself, to write or read between invocations.

        It is the same array until the next `resize`, and must not be used beyond it. The runtime's own arrays
        must be dropped before every invocation; to fetch three or four again for each strip would cost as
        much as copying the strip. Only for graphs whose shapes are known once allocated; `get` is for any.

        Raises:
            KernelError: The file has no such input or output.
        """
        if name not in self._memory:
            borrowed = self._interpreter.tensor(self._any(name))()
            memory = (ctypes.c_ubyte * borrowed.nbytes).from_address(borrowed.ctypes.data)
            memory.owner = self._interpreter  # it lives as long as the array does
            self._memory[name] = np.frombuffer(memory, borrowed.dtype).reshape(borrowed.shape)
        return self._memory[name]

    def invoke(self) -> None:
        """Run the kernel on what the inputs hold. Other Python threads run meanwhile.

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
                "Use kernels and program of one release",
            )
        return tensors[name]


class KernelPool:
    """Interpreters of one file that share the strips of a frame between them.

    Args:
        path: The TFLite file.
        threads: Interpreters and threads; None takes one per core, at most 4.

    Raises:
        KernelError: The file cannot be loaded, or `threads` is below 1.
    """

    def __init__(self, path: Path | str, threads: int | None = None) -> None:
        count = min(4, os.cpu_count() or 1) if threads is None else threads
        if count < 1:
            raise KernelError(f"threads is {count}, which is below 1")
        self.interpreters: Sequence[KernelInterpreter] = [KernelInterpreter(path) for _ in range(count)]
        self._threads = ThreadPoolExecutor(count - 1, "kernel") if count > 1 else None

    def run(self, jobs: Iterable[Job], do: Callable[[KernelInterpreter, Job], None]) -> None:
        """Call ``do(interpreter, job)`` for every job; each interpreter takes the next one when it is free.

        Raises:
            Exception: The first one that a job raised.
        """
        queue = deque(jobs)  # its popleft is safe between threads

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
    """Refuse anything but a non-empty uint8 array (H, W, 3).

    Raises:
        KernelError: It is something else; the message names `name`, dtype and shape.
    """
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or 0 in image.shape:
        raise KernelError(f"{name} is {image.dtype} {image.shape}, not uint8 (height, width, 3)")


def check_finite(values: NDArray[np.float32], name: str) -> None:
    """Refuse NaN and infinity: an index made from them would lie outside the frame.

    Raises:
        KernelError: There is one; the message says how many.
    """
    bad = values.size - int(np.count_nonzero(np.isfinite(values)))
    if bad:
        raise KernelError(f"{name} holds {bad} values that are not finite, of {values.size}")


def balanced(length: int, most: int) -> int:
    """Return the length of equal parts of at most `most` that cover `length` with the least overlap."""
    parts = -(-length // max(1, min(length, most)))
    return -(-length // parts)
