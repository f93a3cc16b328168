"""The benches by name. Their modules are imported only when they run: names and one line each cost nothing.

A bench is a module with two functions::

    def run(budget: Budget, progress: Progress, **options) -> Result      # measures
    def tables(document: Mapping[str, Any]) -> list[Table]      # lays a kept result out for reading

and, where curves say more, a third::

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
    """There is no bench of this name."""


@dataclass(frozen=True)
class Budget:
    """How much time a bench may take.

    Attributes:
        quick: Reduced settings: all benches together within five minutes on two cores.
        threads: Cores this process is held to; a bench tells every library to use as many.
    """

    quick: bool = False
    threads: int = 2

    def pick(self, full: Any, quick: Any) -> Any:
        """Return the setting for this budget."""
        return quick if self.quick else full


class Table(NamedTuple):
    """A table for reading: text cells, under a title, over a line of explanation."""

    title: str
    header: list[str]
    rows: list[list[str]]
    caption: str = ""


class BenchModule(Protocol):
    """What a bench's module offers."""

    def run(self, budget: Budget, progress: Progress, **options: Any) -> Result:
        """Measure; `say` takes a line of progress."""
        ...

    def tables(self, document: Mapping[str, Any]) -> list[Table]:
        """Lay a kept result out; must not need what only `run` needs."""
        ...


@dataclass(frozen=True)
class Bench:
    """A bench that can be asked for by name.

    Attributes:
        name: As on the command line, and of its result file.
        about: What it measures, in one line.
        packages: What it needs beside the default install; all in the extra ``bench``.
        in_all: `bench all` runs it.
    """

    name: str
    about: str
    packages: tuple[str, ...] = ()
    in_all: bool = True

    def load(self) -> BenchModule:
        """Import its module."""
        return cast(BenchModule, importlib.import_module(f"benchmarks.{self.name}"))

    def run(self, budget: Budget, progress: Progress, **options: Any) -> Result:
        """Measure.

        Raises:
            MissingExtraError: A package it needs is not installed.
            MVStylizerError: Whatever the measured parts raise.
        """
        need_extra("bench", *self.packages)
        return self.load().run(budget, progress, **options)


# In the order in which `bench all` runs them and readers meet them.
BENCHES: Final = (
    Bench("table1", "time of one key frame, by resolution and model", ("skimage",)),
    Bench("table2", "time of one intermediate frame, by resolution and way"),
    Bench("figure5", "speed-up over frame by frame, by key-frame interval", ("skimage",)),
    Bench("table4", "intermediate frames against stylizing every frame", ("torch", "pytorch_msssim")),
    Bench("quality", "photorealism and style of the picture, beside other methods", ("torch",)),
    Bench("memory", "peak memory by length of the video, by model and resolution"),
    Bench("table3", "Inception score and FID, or FID over VGG16", ("torch", "torchmetrics", "skimage")),
    Bench("table5", "latency of a key frame over an emulated network", ("skimage",)),
    Bench("kernels", "TFLite kernels beside OpenCV and PyTorch", ("torch", "skimage")),
    Bench("serving", "Triton and the gateway beside the model in process, and load", ("psutil", "skimage")),
    Bench("soak", "half an hour of mixed load and model swaps", ("psutil", "skimage"), in_all=False),
    Bench("rollout", "averaging ten edges; the way of a merged model to phones", ("torch", "skimage")),
    Bench("figure7", "loss by images trained, with 1, 2 and 4 federated edges", ("torch",)),
)


def bench(name: str) -> Bench:
    """Return a bench by its name.

    Raises:
        UnknownBenchError: There is none.
    """
    for each in BENCHES:
        if each.name == name:
            return each
    raise UnknownBenchError(
        f"There is no bench {name!r}", f"Name one of {', '.join(b.name for b in BENCHES)}"
    )
