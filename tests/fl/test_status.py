from __future__ import annotations

from pathlib import Path

import pytest

from fl.journal import Journal
from fl.status import NoFederationError, read_status, table


def test_status_shows_the_version_of_each_edge(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "federation" / "journal.jsonl")
    for edge in "ab":
        journal.write("update", round=1, edge=edge, trained_round=1, frames=7, losses={}, sha256="")
    journal.write("accepted", round=1)
    for edge, version, error in (("a", 1, ""), ("b", 0, "disk full")):
        journal.write("rolled out", edge=edge, version=version, error=error)
    journal.write("discarded", round=2, edge="a", trained_round=2, reason="NaN")
    journal.write("refused", round=2, reasons=["dusk: Eq. 5 loss is 2, live model: 1"])
    (tmp_path / "registry" / "00001").mkdir(parents=True)
    (tmp_path / "registry" / "00001" / "release.json").write_text("{}")
    found = read_status(tmp_path)
    assert found["round"]["event"] == "refused"
    assert found["versions"] == [1]
    assert {name: (e["version"], e["error"]) for name, e in found["edges"].items()} == {
        "a": (1, "NaN"),
        "b": (0, "disk full"),
    }
    lines = table(found).splitlines()
    assert lines[:3] == [
        "Round 2: refused",
        "  dusk: Eq. 5 loss is 2, live model: 1",
        "Releases: 1",
    ]
    assert [line.split()[:5] for line in lines[4:]] == [["a", "1", "1", "7", "-"], ["b", "0", "1", "7", "-"]]
    journal.close()


def test_status_before_the_first_round(tmp_path: Path) -> None:
    with pytest.raises(NoFederationError, match="contains no federation"):
        read_status(tmp_path)
    Journal(tmp_path / "federation" / "journal.jsonl").write("begun", round=0, sha256="")
    assert table(read_status(tmp_path)).splitlines()[:2] == ["No round has finished yet", "Releases: none"]
