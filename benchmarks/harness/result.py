"""A bench's result: rows of figures that say what they mean, and the JSON file that keeps them.

A row is one case (model, resolution, interval, …) and what was measured of it. Every figure's unit, direction
and noise are stated once beside the rows, so that a file can be read, compared and drawn without this code.
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
    """A result file is missing, unreadable, or no result of a bench."""


@dataclass(frozen=True)
class Figure:
    """What a figure means.

    Attributes:
        unit: ``s``, ``dB``, ``ratio``, ….
        about: One line: what it is and how it is counted.
        better: Which direction is the better one; ``neither`` for facts and for the paper's own figures.
        noise: Relative difference within which two runs on one quiet machine agree.
    """

    unit: str
    about: str
    better: Better = "neither"
    noise: float = 0.0


@dataclass(frozen=True)
class Spread:
    """A figure that was measured several times."""

    median: float
    min: float
    max: float
    runs: int

    def scaled(self, factor: float) -> Spread:
        """Return it in another unit."""
        return self.through(lambda value: value * factor)

    def through(self, function: Callable[[float], float]) -> Spread:
        """Return what a function that never falls makes of it."""
        return Spread(function(self.median), function(self.min), function(self.max), self.runs)


Case: TypeAlias = dict[str, str | int | float]
Value: TypeAlias = float | Spread | None


@dataclass(frozen=True)
class Row:
    """One case and its figures; None is a figure that could not be had, such as a peer's that failed."""

    case: Case
    figures: dict[str, Value]


@dataclass(frozen=True)
class Result:
    """What a bench found.

    Attributes:
        bench: Its name, such as ``table1``.
        figures: Every figure that occurs in the rows.
        rows: One for each case; no two cases are equal.
        settings: What it was run with: sizes, counts, file names without folders.
        notes: Lines that belong beside the figures ("the network is emulated").

    Raises:
        ValueError: Two rows of one case, a figure that is not described, or one that is not finite.
    """

    bench: str
    figures: Mapping[str, Figure]
    rows: Sequence[Row]
    settings: dict[str, Any] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        cases = [case_name(row.case) for row in self.rows]
        if len(set(cases)) < len(cases):
            raise ValueError(f"{self.bench}: two rows of one case among {cases}")
        for row in self.rows:
            for name, value in row.figures.items():
                if name not in self.figures:
                    raise ValueError(f"{self.bench}: figure {name!r} is not described")
                if value is not None and not math.isfinite(median_of(value)):
                    raise ValueError(f"{self.bench}: {name} of {case_name(row.case)} is {value}")

    def document(self, metadata: dict[str, Any]) -> dict[str, Any]:
        """Return the result as the plain object that is printed and kept.

        Args:
            metadata: Machine, versions, commit and date; see `benchmarks.machine.metadata`.
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
    """Return a case in words: its values, in order."""
    return " ".join(str(value) for value in case.values())


def median_of(value: float | Spread | Mapping[str, float]) -> float:
    """Return the median of a figure, whether it was measured once or often, kept or just made."""
    if isinstance(value, Spread):
        return value.median
    return value["median"] if isinstance(value, Mapping) else value


def write(document: dict[str, Any], path: Path) -> None:
    """Write a result, checked against the schema, whole or not at all.

    Raises:
        ResultError: It does not fit the schema, or cannot be written.
    """
    check(document, path.name)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with pending_file(path) as part:
            part.write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n")
    except OSError as err:
        raise ResultError(f"Cannot write {path}: {err.strerror}", "Name another file with --out") from err


def read(path: Path) -> dict[str, Any]:
    """Read a result.

    Raises:
        ResultError: The file is missing, no JSON, or does not fit the schema.
    """
    try:
        document = json.loads(path.read_text())
    except OSError as err:
        raise ResultError(f"Cannot read {path}: {err.strerror}", "Run the bench that writes it") from err
    except ValueError as err:
        raise ResultError(f"{path} is no JSON: {err}", "Run the bench again") from err
    check(document, path.name)
    return dict(document)


def check(document: object, name: str) -> None:
    """Hold a document against ``result.schema.json``.

    Raises:
        ResultError: It does not fit; the message says where.
    """
    from jsonschema import Draft202012Validator

    error = next(Draft202012Validator(schema()).iter_errors(document), None)
    if error is not None:
        raise ResultError(f"{name} is no bench result: {error.json_path}: {error.message}")


@cache
def schema() -> dict[str, Any]:
    """Return the JSON Schema of a result."""
    return dict(json.loads(SCHEMA_FILE.read_text()))


def find(document: Mapping[str, Any], **case: str | int | float) -> dict[str, Any] | None:
    """Return the figures of the first row of a kept result whose case has these values, or None."""
    rows: Iterable[Mapping[str, Any]] = document["results"]
    for row in rows:
        if all(row["case"].get(key) == value for key, value in case.items()):
            return dict(row["figures"])
    return None
