"""Whatever a child does, its parent goes on, with one line."""

from __future__ import annotations

from pathlib import Path

import pytest

from mvstylizer.limited_process import LimitedProcessError, reports

CHILD = "tests.mvstylizer.misbehaving"


@pytest.fixture(autouse=True)
def _in_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(Path(__file__).parents[2])


@pytest.mark.parametrize("mode", ["nothing", "complain", "leave a child"])
def test_reports_arrive(mode: str) -> None:
    assert list(reports(CHILD, [mode], silence_s=60)) == [{"begun": mode}]


@pytest.mark.parametrize(
    ("mode", "line"),
    [
        ("crash", "SIGSEGV"),
        ("hog", "MemoryError"),
        ("raise", "long story"),
        ("write", "write without end"),
    ],
)
def test_misbehavior_is_one_line_after_the_reports(mode: str, line: str) -> None:
    found = []
    with pytest.raises(LimitedProcessError, match=line) as caught:
        found.extend(reports(CHILD, [mode], silence_s=60))
    assert str(caught.value).isprintable()


def test_an_endless_child_is_killed() -> None:
    with pytest.raises(LimitedProcessError, match=r"did not finish within 0\.5 s"):
        list(reports(CHILD, ["loop"], silence_s=0.5))


def test_a_parent_that_stops_reading_leaves_no_child() -> None:
    running = reports(CHILD, ["loop"], silence_s=60)
    assert next(running) == {"begun": "loop"}
    running.close()
