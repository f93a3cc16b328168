"""A bundle that is being written."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from export.parity.reference import Reference
from mvstylizer.bundle import FileSpec

Reporter = Callable[[str], None]


@dataclass(frozen=True)
class Draft:
    """A bundle's folder and what its files share.

    Attributes:
        folder: Where the files go.
        reference: PyTorch's outputs for the checkpoint.
        network: The manifest's row: dimensions, length of the style code, precision of the weights.
        report: Called with one line per file.
        files: The manifest's rows so far.
    """

    folder: Path
    reference: Reference
    network: dict[str, Any]
    report: Reporter
    files: list[FileSpec] = field(default_factory=list)

    @property
    def half(self) -> bool:
        """Whether weights are stored in half precision."""
        return bool(self.network["precision"] == "fp16")

    def add(self, spec: FileSpec) -> None:
        """Add a file that is written and checked, and report it."""
        self.files.append(spec)
        parity = spec.parity
        differs = f", differs from its reference by at most {parity['max']:g}" if parity else ""
        lanes = f" ({', '.join(parity['lanes'])})" if parity else ""
        self.report(f"{spec.path}: {spec.bytes / 1e3:.0f} kB{differs}{lanes}")
