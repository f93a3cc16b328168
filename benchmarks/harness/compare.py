"""Two results of one bench, figure by figure: the same within the noise, better, or worse."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from benchmarks.harness.registry import Table
from benchmarks.harness.result import ResultError, case_name, median_of
from benchmarks.harness.tables import number

ChangeVerdict = Literal["same", "better", "worse", "changed", "gone", "new"]


@dataclass(frozen=True)
class FigureChange:
    """One figure of one case in both results.

    Attributes:
        case: In words.
        figure: Its name.
        before: Median in the first result; None when it is not there.
        after: Median in the second.
        ratio: after / before; None when one is missing or before is 0.
        verdict: ``same`` within the figure's noise, or when the spreads of both overlap; else ``better`` or
            ``worse``, ``changed`` where neither direction is better; ``gone`` and ``new`` are in one only.
    """

    case: str
    figure: str
    before: float | None
    after: float | None
    ratio: float | None
    verdict: ChangeVerdict


def compare(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[FigureChange]:
    """Compare two kept results.

    Raises:
        ResultError: They are of different benches.
    """
    if before["bench"] != after["bench"]:
        raise ResultError(
            f"These are results of {before['bench']} and {after['bench']}", "Name two results of one bench"
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


def machine_moved(before: Mapping[str, Any], after: Mapping[str, Any]) -> float:
    """Return by which part of its best speed the machine slowed down, within and between two results.

    0 on a quiet machine; 0.4 where a fixed matrix product went at 60 % of its best while others used the
    cores. Noise is that of a quiet machine, so this tells whether to run again; it changes no verdict.
    """
    speeds: list[float] = [
        speed
        for document in (before, after)
        for key in ("gmacs_per_second", "gmacs_range")
        for speed in document["metadata"]["machine"].get(key, ())
    ]
    return 1 - min(speeds) / max(speeds)


def as_table(changes: list[FigureChange], moved: float, *, everything: bool = False) -> Table:
    """Lay changes out, those within the noise only when `everything` is asked for.

    Args:
        changes: From `compare`.
        moved: From `machine_moved`; said below.
        everything: Those within the noise too.
    """
    shown = [change for change in changes if everything or change.verdict != "same"]
    same = sum(change.verdict == "same" for change in changes)
    rows = [
        [c.case, c.figure, number(c.before, digits=4), number(c.after, digits=4), number(c.ratio), c.verdict]
        for c in shown
    ]
    header = ["case", "figure", "before", "after", "ratio", "verdict"]
    caption = f"{same} of {len(changes)} figures are the same within the noise."
    return Table("Comparison", header, rows, f"{caption} The machine's own speed moved by {moved:.0%}.")


def as_dict(changes: list[FigureChange], moved: float) -> dict[str, Any]:
    """Return changes as plain values, counted by verdict, and by how much the machine's speed moved."""
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
    """Tell whether spreads overlap; a figure without one lies within the other's or not."""
    (low, high), (least, most) = map(_ends, (before, after))
    return low <= most and least <= high


def _ends(value: Any) -> tuple[float, float]:
    return (value["min"], value["max"]) if isinstance(value, Mapping) else (value, value)


def _plain(value: Any) -> float | None:
    return None if value is None else median_of(value)
