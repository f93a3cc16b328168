"""Compare two results of a benchmark: each figure is unchanged within the noise, better or worse."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

from benchmarks.harness.registry import BENCHES, Table
from benchmarks.harness.result import ResultError, case_name, median_of, read
from benchmarks.harness.tables import number

ChangeVerdict = Literal["same", "better", "worse", "changed", "gone", "new"]


@dataclass(frozen=True)
class FigureChange:
    """A figure of a case in two results.

    Attributes:
        case: Name of the case.
        figure: Name of the figure.
        before: Median in the first result; None if missing.
        after: Median in the second result; None if missing.
        ratio: after / before; None if one is missing or before is 0.
        verdict: ``same`` within the figure's noise or if the spreads overlap; else ``better``, ``worse``, or
            ``changed`` if neither direction is better; ``gone`` and ``new`` exist in one result only.
    """

    case: str
    figure: str
    before: float | None
    after: float | None
    ratio: float | None
    verdict: ChangeVerdict


def compare(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[FigureChange]:
    """Compare two stored results.

    Raises:
        ResultError: The results are of different benchmarks.
    """
    if before["bench"] != after["bench"]:
        raise ResultError(
            f"Cannot compare {before['bench']} with {after['bench']}",
            "Pass two results of the same benchmark",
        )
    first, second = _by_case(before), _by_case(after)
    meanings = {**before["figures"], **after["figures"]}
    return [
        _change(
            case, figure, first.get(case, {}).get(figure), second.get(case, {}).get(figure), meanings[figure]
        )
        for case in {**first, **second}
        for figure in {**first.get(case, {}), **second.get(case, {})}
    ]


def compare_folders(before: Path, after: Path) -> tuple[list[FigureChange], float]:
    """Compare the results that two folders have in common.

    Returns:
        The changes, with the benchmark as first word of each case, and the machine's largest slowdown within
        and between two results; see `machine_moved`.

    Raises:
        ResultError: The folders have no benchmark in common, or a result cannot be read.
    """
    names = [
        b.name for b in BENCHES if all((folder / f"{b.name}.json").is_file() for folder in (before, after))
    ]
    if not names:
        raise ResultError(f"{before} and {after} have no results in common", "Pass two folders of results")
    changes, moved = [], 0.0
    for name in names:
        pair = [read(folder / f"{name}.json") for folder in (before, after)]
        changes += [replace(change, case=f"{name}: {change.case}") for change in compare(*pair)]
        moved = max(moved, machine_moved(*pair))
    return changes, moved


def machine_moved(before: Mapping[str, Any], after: Mapping[str, Any]) -> float:
    """Return the machine's largest relative slowdown, within and between two results.

    0 on an idle machine; 0.4 if a fixed matrix product ran at 60 % of its best speed. Noise limits assume an
    idle machine, so a large value means that the benchmark should be run again; verdicts do not depend on it.
    """
    speeds: list[float] = [
        speed
        for document in (before, after)
        for key in ("gmacs_per_second", "gmacs_range")
        for speed in document["metadata"]["machine"].get(key, ())
    ]
    return 1 - min(speeds) / max(speeds)


def as_table(changes: list[FigureChange], moved: float, *, everything: bool = False) -> Table:
    """Return changes as a table.

    Args:
        changes: From `compare`.
        moved: From `machine_moved`; shown in the caption.
        everything: Include figures that are unchanged within the noise.
    """
    shown = [change for change in changes if everything or change.verdict != "same"]
    same = sum(change.verdict == "same" for change in changes)
    rows = [
        [c.case, c.figure, number(c.before, digits=4), number(c.after, digits=4), number(c.ratio), c.verdict]
        for c in shown
    ]
    header = ["case", "figure", "before", "after", "ratio", "verdict"]
    caption = f"{same} of {len(changes)} figures are unchanged within the noise."
    return Table("Comparison", header, rows, f"{caption} The machine's speed varied by {moved:.0%}.")


def as_dict(changes: list[FigureChange], moved: float) -> dict[str, Any]:
    """Return changes as plain values, with counts by verdict and the machine's slowdown."""
    counts = {verdict: sum(c.verdict == verdict for c in changes) for verdict in ChangeVerdict.__args__}  # type: ignore[attr-defined]
    return {"counts": counts, "machine_moved": moved, "changes": [asdict(change) for change in changes]}


def _by_case(document: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    return {case_name(row["case"]): row["figures"] for row in document["results"]}


def _change(case: str, figure: str, before: Any, after: Any, meaning: Mapping[str, Any]) -> FigureChange:
    if before is None or after is None:
        alone: ChangeVerdict = "same" if before is after else "gone" if after is None else "new"
        return FigureChange(case, figure, _plain(before), _plain(after), None, alone)
    old, new = median_of(before), median_of(after)
    ratio = new / old if old else None
    return FigureChange(case, figure, old, new, ratio, _verdict(before, after, meaning))


def _verdict(before: Any, after: Any, meaning: Mapping[str, Any]) -> ChangeVerdict:
    old, new = median_of(before), median_of(after)
    if abs(new - old) <= meaning["noise"] * max(abs(old), abs(new)) or _overlap(before, after):
        return "same"
    if meaning["better"] == "neither":
        return "changed"
    return "better" if (new < old) == (meaning["better"] == "lower") else "worse"


def _overlap(before: Any, after: Any) -> bool:
    """Return whether two spreads overlap; a single value is an interval of length 0."""
    (low, high), (other_low, other_high) = map(_ends, (before, after))
    return low <= other_high and other_low <= high


def _ends(value: Any) -> tuple[float, float]:
    return (value["min"], value["max"]) if isinstance(value, Mapping) else (value, value)


def _plain(value: Any) -> float | None:
    return None if value is None else median_of(value)
