"""A bundle that is being written."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from export.cache import Cache
from export.parity.reference import Reference
from export.quantization import Quantization
from mvstylizer.bundle import FileSpec

Reporter = Callable[[str], None]
Progress = Callable[[int, int, str], None]
"""Called with the number of finished files, the number of all files, and the file that is being made."""


@dataclass(frozen=True)
class Draft:
    """A bundle's folder and what its files share.

    Attributes:
        folder: Where the files go.
        reference: PyTorch's outputs for the checkpoint.
        network: The manifest's row: dimensions, length of the style code, precision of the weights.
        report: Called with one line per file.
        cache: Results of earlier exports; None makes everything anew.
        quantization: Photos and bound of eight-bit convolutions; None keeps floating point.
        progress: Called when a file is begun.
        total: Number of files that the bundle will have.
        files: The manifest's rows so far.
    """

    folder: Path
    reference: Reference
    network: dict[str, Any]
    report: Reporter
    cache: Cache | None = None
    quantization: Quantization | None = None
    progress: Progress = lambda *_: None
    total: int = 0
    files: list[FileSpec] = field(default_factory=list)
    _began: list[float] = field(default_factory=list)

    @property
    def half(self) -> bool:
        """Whether weights are stored in half precision."""
        return bool(self.network["precision"] != "fp32")

    @property
    def exact(self) -> bool:
        """Whether files compute what PyTorch computes; quantized ones keep a bound on photos instead."""
        return bool(self.network["precision"] != "int8")

    def begin(self, name: str) -> None:
        """Show that a file is being made, and start its clock."""
        self._began[:] = [time.monotonic()]
        self.progress(len(self.files), self.total, name)

    def add(self, spec: FileSpec, note: str = "") -> None:
        """Add a file that is written and checked, and report it with its time and a note."""
        self.files.append(spec)
        parity = spec.parity
        differs = f", differs from its reference by at most {parity['max']:g}" if parity else ""
        lanes = f" ({', '.join(parity['lanes'])})" if parity else ""
        seconds = f", {time.monotonic() - self._began[0]:.1f} s" if self._began else ""
        self.report(f"{spec.path}: {spec.bytes / 1e3:.0f} kB{differs}{lanes}{seconds}{note}")
