"""The benchmarks by name. Their modules are imported only when they run.

A benchmark is a module with two functions::

    def run(budget: Budget, progress: Progress, **options) -> Result
    def tables(document: Mapping[str, Any]) -> list[Table]

and optionally a third::

    def plots(document: Mapping[str, Any]) -> list[Plot]
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, NamedTuple, Protocol, cast

from benchmarks.harness.result import Result
from mvstylizer.errors import MVStylizerError, need_extra

Progress = Callable[[str], None]


class UnknownBenchError(MVStylizerError):
    """There is no benchmark with this name."""


@dataclass(frozen=True)
class Budget:
    """How much time a benchmark may take.

    Attributes:
        quick: Use reduced settings: all benchmarks together take five minutes on two cores.
        threads: Number of cores this process is pinned to, and of threads every library should use.
    """

    quick: bool = False
    threads: int = 2

    def pick(self, full: Any, quick: Any) -> Any:
        """Return the setting for this budget."""
        return quick if self.quick else full


class Table(NamedTuple):
    """A table of text cells with a title and a caption."""

    title: str
    header: list[str]
    rows: list[list[str]]
    caption: str = ""


class BenchModule(Protocol):
    """The functions of a benchmark module."""

    def run(self, budget: Budget, progress: Progress, **options: Any) -> Result:
        """Measure; `progress` receives lines of text."""
        ...

    def tables(self, document: Mapping[str, Any]) -> list[Table]:
        """Return a stored result as tables; must not require the packages that only `run` needs."""
        ...


@dataclass(frozen=True)
class Bench:
    """An entry of the registry.

    Attributes:
        name: Name of the command, the module and the result file.
        about: What it measures, in one line.
        packages: Required packages beyond the default install, all in the extra ``bench``.
        in_all: Whether `bench all` runs it.
    """

    name: str
    about: str
    packages: tuple[str, ...] = ()
    in_all: bool = True

    def load(self) -> BenchModule:
        """Import the module."""
        return cast(BenchModule, importlib.import_module(f"benchmarks.{self.name}"))

    def run(self, budget: Budget, progress: Progress, **options: Any) -> Result:
        """Measure.

        Raises:
            MissingExtraError: A required package is not installed.
            MVStylizerError: Raised by the measured code.
        """
        need_extra("bench", *self.packages)
        return self.load().run(budget, progress, **options)


# In the order of `bench all` and of the report.
BENCHES: Final = (
    Bench("table1", "time to stylize a key frame, by resolution and model", ("skimage",)),
    Bench("table2", "time to interpolate a frame, by resolution and method"),
    Bench("figure5", "speed-up over stylizing every frame, by key-frame interval", ("skimage",)),
    Bench("table4", "quality and temporal stability of interpolated frames", ("torch", "pytorch_msssim")),
    Bench("quality", "photorealism and style, compared with other methods", ("torch",)),
    Bench("memory", "peak memory by video length, model and resolution"),
    Bench(
        "table3", "Inception score and FID, or FID with VGG16 features", ("torch", "torchmetrics", "skimage")
    ),
    Bench("table5", "latency of a key frame over an emulated network", ("skimage",)),
    Bench("kernels", "TFLite kernels compared with OpenCV and PyTorch", ("torch", "skimage")),
    Bench("serving", "overhead of Triton and the gateway; behavior under load", ("psutil", "skimage")),
    Bench("soak", "half an hour of mixed load and model swaps", ("psutil", "skimage"), in_all=False),
    Bench("rollout", "averaging ten edges; rolling out the merged model", ("torch", "skimage")),
    Bench("figure7", "loss by number of training images, with 1, 2 and 4 edges", ("torch",)),
)


def bench(name: str) -> Bench:
    """Return a benchmark by name.

    Raises:
        UnknownBenchError: There is no benchmark with this name.
    """
    for each in BENCHES:
        if each.name == name:
            return each
    raise UnknownBenchError(
        f"Unknown benchmark {name!r}", f"Choose one of {', '.join(b.name for b in BENCHES)}"
    )
