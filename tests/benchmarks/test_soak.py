"""A soak test of a few seconds with a tiny model on the real server."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import soak
from benchmarks.edge_load.recovery import VICTIMS
from benchmarks.harness.registry import Budget, bench
from tests.edge_triton.conftest import make_bundle


@pytest.mark.server
@pytest.mark.slow
def test_a_soak_swaps_models_without_failures(tmp_path: Path) -> None:
    model = make_bundle(tmp_path / "bundle")
    lines: list[str] = []
    result = bench("soak").run(
        Budget(quick=True), lines.append, bundle=model.path, minutes=0.1, swaps=1, attack=True
    )
    rows = {(name, value): row.figures for row in result.rows for name, value in row.case.items()}
    for kind in soak.KINDS:
        figures = rows["requests", kind]
        assert figures["failures"] == 0, result.notes
        assert figures["answers"]
    assert rows["swaps", 1]["restarts"] == 0
    assert rows["memory", "after"]["of_first_minute"]
    assert any("swap 1 of 1" in line for line in lines)
    for victim in VICTIMS:
        assert rows["killed", victim]["heal_seconds"]
    assert len(soak.tables(result.document({}))) == 4
