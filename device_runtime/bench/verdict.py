"""Verdict on a row: whether its figures may be quoted."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean, pstdev
from typing import NamedTuple

from device_runtime.bench.benchmark_log import Delegation
from device_runtime.bench.parity import Parity
from device_runtime.bench.phone import PhoneState

_FAST_CHARGERS = {"ac", "wireless", "dock"}  # a computer's USB port gives little, and is needed for adb
MAX_SPREAD = 0.10  # of the repeats' medians: standard deviation over mean
# Worst first: a row's verdict is the first one with a reason.
VERDICTS = ("failed", "wrong", "throttled", "fallback", "noisy", "charging", "unchecked", "valid")


class RowVerdict(NamedTuple):
    """One of `VERDICTS`, and all reasons why the row is not valid."""

    name: str
    reasons: tuple[str, ...]


def failed(reason: str) -> RowVerdict:
    """Return the verdict of a configuration that the phone could not run."""
    return RowVerdict("failed", (reason,))


def judge(
    parity: Parity | None,
    delegation: Delegation,
    cool: bool,
    states: Sequence[PhoneState],
    cores: Sequence[int],
    medians: Sequence[float],
    slowdown: float = 1.0,
) -> RowVerdict:
    """Return a row's verdict.

    Args:
        parity: Parity of the output; None if the tool writes no outputs.
        delegation: How much of the graph was delegated.
        cool: Whether the phone cooled down in time.
        states: The phone's states before the first and after each repeat.
        cores: The cores that the benchmark ran on.
        medians: Median latency of each repeat, µs.
        slowdown: Latency of a small probe after this row / before the first one.
    """
    reasons: list[tuple[str, str]] = []
    if parity is None:
        reasons.append(("unchecked", "the tool writes no outputs to compare"))
    elif not parity.passed:
        reasons.append(("wrong", _parity_text(parity)))
    reasons += throttled(cool, states, cores)
    if slowdown > 1 + MAX_SPREAD:
        reasons.append(("throttled", f"a probe kernel runs {slowdown - 1:.0%} slower than at the start"))
    if delegation.share in ("partial", "none"):
        reasons.append(("fallback", _delegation_text(delegation)))
    spread = pstdev(medians) / fmean(medians) if medians and fmean(medians) else 0.0
    if spread > MAX_SPREAD:
        reasons.append(("noisy", f"medians of the repeats spread by {spread:.0%}"))
    return worst_of(reasons)


def throttled(cool: bool, states: Sequence[PhoneState], cores: Sequence[int]) -> list[tuple[str, str]]:
    """Return the reasons why heat may have slowed the phone down: verdicts ``throttled`` and ``charging``.

    Args:
        cool: Whether the phone cooled down in time.
        states: The phone's states before and after.
        cores: The cores that were used.
    """
    reasons: list[tuple[str, str]] = []
    if not cool:
        reasons.append(("throttled", "the phone did not cool down in time"))
    worst = max((state.thermal_status or 0 for state in states), default=0)
    if worst:
        reasons.append(("throttled", f"thermal status {worst}"))
    for core in cores:
        ceilings = [state.ceilings_khz[core] for state in states if core in state.ceilings_khz]
        if ceilings and min(ceilings) < ceilings[0]:
            text = f"clock of core {core} was capped from {ceilings[0]} to {min(ceilings)} kHz"
            reasons.append(("throttled", text))
    if chargers := {state.charger for state in states} & _FAST_CHARGERS:
        reasons.append(("charging", f"the phone charges ({', '.join(sorted(chargers))}), which heats it"))
    return reasons


def worst_of(reasons: Sequence[tuple[str, str]]) -> RowVerdict:
    """Return the worst verdict that has a reason, with all reasons."""
    name = next((verdict for verdict in VERDICTS if verdict in dict(reasons)), "valid")
    return RowVerdict(name, tuple(text for _, text in reasons))


def _parity_text(parity: Parity) -> str:
    if parity.largest is None:
        return "output differs in size from the host's, or is not finite"
    return f"{parity.differing:.1%} of the output differs from the host's, by up to {parity.largest:g}"


def _delegation_text(delegation: Delegation) -> str:
    if delegation.share == "none":
        return f"{delegation.wanted} took nothing"
    nodes = f" {delegation.nodes} of {delegation.of_nodes} nodes" if delegation.nodes else " a part"
    return f"{delegation.wanted} took{nodes}"
