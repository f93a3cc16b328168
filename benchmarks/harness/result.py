"""A benchmark's result: rows of self-describing figures, stored as JSON.

A row is one case (model, resolution, interval, …) with its measured figures. The unit, direction and noise of
each figure are stored in the same file, so it can be read, compared and plotted without this code.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias

from device_runtime.media.atomic_file import pending_file
from mvstylizer.errors import MVStylizerError

SCHEMA: Final = "mvstylizer.bench/1"
SCHEMA_FILE: Final = Path(__file__).with_name("result.schema.json")

Better = Literal["lower", "higher", "neither"]


class ResultError(MVStylizerError):
    """A result file is missing, unreadable or invalid."""


@dataclass(frozen=True)
class Figure:
    """Definition of a figure.

    Attributes:
        unit: ``s``, ``dB``, ``ratio``, ….
        about: What it is and how it is measured, in one line.
        better: The better direction; ``neither`` for facts and for the paper's figures.
        noise: Relative difference within which two runs on an idle machine agree.
    """

    unit: str
    about: str
    better: Better = "neither"
    noise: float = 0.0


@dataclass(frozen=True)
class Spread:
    """Median, minimum and maximum of a figure that was measured several times."""

    median: float
    min: float
    max: float
    runs: int

    def scaled(self, factor: float) -> Spread:
        """Return the spread multiplied by a factor."""
        return self.mapped(lambda value: value * factor)

    def mapped(self, function: Callable[[float], float]) -> Spread:
        """Return the spread mapped by a non-decreasing function."""
        return Spread(function(self.median), function(self.min), function(self.max), self.runs)


Case: TypeAlias = dict[str, str | int | float]
Value: TypeAlias = float | Spread | None


@dataclass(frozen=True)
class Row:
    """A case and its figures; None is a figure that could not be measured, such as that of a failed peer."""

    case: Case
    figures: dict[str, Value]


@dataclass(frozen=True)
class Result:
    """The result of a benchmark.

    Attributes:
        bench: Name of the benchmark, such as ``table1``.
        figures: Definitions of all figures in the rows.
        rows: One row per case.
        settings: Sizes, counts, file names without folders.
        notes: Remarks on the figures, such as "the network is emulated".

    Raises:
        ValueError: Two rows have the same case, or a figure is undefined or not finite.
    """

    bench: str
    figures: Mapping[str, Figure]
    rows: Sequence[Row]
    settings: dict[str, Any] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        cases = [case_name(row.case) for row in self.rows]
        if len(set(cases)) < len(cases):
            raise ValueError(f"{self.bench}: duplicate case in {cases}")
        for row in self.rows:
            for name, value in row.figures.items():
                if name not in self.figures:
                    raise ValueError(f"{self.bench}: undefined figure {name!r}")
                if value is not None and not math.isfinite(median_of(value)):
                    raise ValueError(f"{self.bench}: {name} of {case_name(row.case)} is {value}")

    def document(self, metadata: dict[str, Any]) -> dict[str, Any]:
        """Return the result as a JSON object.

        Args:
            metadata: Machine, versions, commit and date, see `benchmarks.machine.Watch.metadata`.
        """
        used = {name for row in self.rows for name in row.figures}
        return {
            "schema": SCHEMA,
            "bench": self.bench,
            "metadata": metadata,
            "settings": self.settings,
            "figures": {name: asdict(figure) for name, figure in self.figures.items() if name in used},
            "results": [asdict(row) for row in self.rows],
            "notes": self.notes,
        }


def case_name(case: Mapping[str, Any]) -> str:
    """Return the values of a case, separated by spaces."""
    return " ".join(str(value) for value in case.values())


def median_of(value: float | Spread | Mapping[str, float]) -> float:
    """Return the median of a figure: a single value, a `Spread`, or a stored spread."""
    if isinstance(value, Spread):
        return value.median
    return value["median"] if isinstance(value, Mapping) else value


def write(document: dict[str, Any], path: Path) -> None:
    """Validate a result and write it atomically.

    Raises:
        ResultError: The result does not match the schema, or cannot be written.
    """
    check(document, path.name)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with pending_file(path) as part:
            part.write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n")
    except OSError as err:
        raise ResultError(f"Cannot write {path}: {err.strerror}", "Choose another file with --out") from err


def read(path: Path) -> dict[str, Any]:
    """Read a stored result.

    Raises:
        ResultError: The file is missing, not JSON, or does not match the schema.
    """
    try:
        document = json.loads(path.read_text())
    except OSError as err:
        raise ResultError(f"Cannot read {path}: {err.strerror}", "Run the benchmark that writes it") from err
    except ValueError as err:
        raise ResultError(f"{path} is not JSON: {err}", "Run the benchmark again") from err
    check(document, path.name)
    return dict(document)


def check(document: object, name: str) -> None:
    """Validate a document against ``result.schema.json``.

    Raises:
        ResultError: The document does not match; the message contains the JSON path.
    """
    from jsonschema import Draft202012Validator

    version = document.get("schema") if isinstance(document, dict) else None
    if version != SCHEMA:
        raise ResultError(
            f"{name} has the schema {version}, expected {SCHEMA}", "Run the benchmark again with this version"
        )
    error = next(Draft202012Validator(schema()).iter_errors(document), None)
    if error is not None:
        raise ResultError(
            f"{name} is not a benchmark result: {error.json_path}: {error.message}", "Run the benchmark again"
        )


@cache
def schema() -> dict[str, Any]:
    """Return the JSON Schema of a result."""
    return dict(json.loads(SCHEMA_FILE.read_text()))


def find(document: Mapping[str, Any], **case: str | int | float) -> dict[str, Any] | None:
    """Return the figures of the first row of a stored result that matches a case, or None."""
    rows: Iterable[Mapping[str, Any]] = document["results"]
    for row in rows:
        if all(row["case"].get(key) == value for key, value in case.items()):
            return dict(row["figures"])
    return None
