"""Result of a run over many files."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Literal

from device_runtime.report import Report, versioned

State = Literal["done", "skipped", "failed"]


@dataclass(frozen=True)
class FileResult:
    """What became of one file.

    Attributes:
        source: The file.
        out: Its result.
        state: ``done``; ``skipped``, because the result existed; or ``failed``.
        error: What is wrong with a failed file.
        hint: What to do about it.
        report: The report of a file that is done.
    """

    source: str
    out: str
    state: State
    error: str = ""
    hint: str = ""
    report: Report | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return the fields as JSON-serializable values."""
        return {**vars(self), "report": self.report.as_dict() if self.report else None}


@dataclass(frozen=True)
class BatchReport:
    """Result of stylizing many files.

    Attributes:
        out: The folder of the results.
        files: One entry per file, in the order of the plan.
        seconds: Wall time.
    """

    out: str
    files: list[FileResult] = field(default_factory=list)
    seconds: float = 0.0

    def count(self, state: State) -> int:
        """Return the number of files in a state."""
        return Counter(file.state for file in self.files)[state]

    def as_dict(self) -> dict[str, Any]:
        """Return the fields, the counts and ``schema_version`` as JSON-serializable values."""
        counts = {state: self.count(state) for state in ("done", "skipped", "failed")}
        files = [file.as_dict() for file in self.files]
        return versioned({"out": self.out, **counts, "seconds": self.seconds, "files": files})

    def summary(self) -> str:
        """Return the report as text: the counts, and a line for each failed file."""
        skipped = f", {self.count('skipped')} skipped" if self.count("skipped") else ""
        failed = [file for file in self.files if file.state == "failed"]
        head = f"{self.out}: {self.count('done')} done{skipped}, {len(failed)} failed, {self.seconds:.1f} s"
        return "\n".join([head, *(f"failed: {file.source}: {file.error}" for file in failed)])
