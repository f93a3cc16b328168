"""What a run tells a CI: rows that became slower than an earlier run, and JUnit's file format."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from device_runtime.bench.results import LatencyChange, ResultsError, Row, config_key

PASSED: Final = ("valid", "unchecked", "fallback")


def slower(changes: Sequence[LatencyChange], over: float) -> list[LatencyChange]:
    """Return the comparable rows whose median rose by more than a share.

    Args:
        changes: From `results.compare`.
        over: For example 0.05.
    """
    return [change for change in changes if change.ratio > 1 + over and change.meaning != "not comparable"]


def write_junit(rows: Sequence[Row], regressions: Sequence[LatencyChange], path: Path) -> None:
    """Write a JUnit file: a test case for each row, failed if its figures may not be quoted or it is slower.

    Args:
        rows: Rows of `bench device`.
        regressions: From `slower`.
        path: The file.

    Raises:
        ResultsError: The file cannot be written.
    """
    slow = {change.config: f"{change.ratio - 1:.0%} slower than before" for change in regressions}
    suite = ET.Element("testsuite", name="mvstylizer bench device", tests=str(len(rows)))
    failures = 0
    for row in rows:
        key = config_key(row)
        seconds = (row["latency_us"] or {}).get("mean", 0.0) / 1e6
        case = ET.SubElement(
            suite, "testcase", classname=row["phone"]["model"], name=key, time=f"{seconds:.6f}"
        )
        reasons = [] if row["verdict"] in PASSED else [f"{row['verdict']}: {'; '.join(row['reasons'])}"]
        reasons += [slow[key]] if key in slow else []
        if reasons:
            failures += 1
            ET.SubElement(case, "failure", message="; ".join(reasons))
    suite.set("failures", str(failures))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        ET.ElementTree(suite).write(path, encoding="unicode", xml_declaration=True)
    except OSError as err:
        raise ResultsError(f"Cannot write {path}: {err.strerror}") from err
