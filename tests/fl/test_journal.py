from __future__ import annotations

import threading
from pathlib import Path

import pytest

from fl.journal import Journal, JournalError, read_journal


def test_a_journal_can_be_read_back_by_its_writer_and_by_others(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "journal.jsonl"
    journal = Journal(path)
    journal.write("opened", round=1)
    journal.write("update", round=1, edge="a", note="line\nbreak")
    assert read_journal(path) == journal.rows
    journal.close()
    again = Journal(path)
    again.write("opened", round=2)
    assert [row["round"] for row in again.events("opened")] == [1, 2]
    assert read_journal(path)[1]["note"] == "line\nbreak"


def test_a_kill_at_any_byte_of_a_line_loses_that_line_only(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    journal = Journal(path)
    journal.write("opened", round=1)
    first = path.stat().st_size
    journal.write("update", round=1)
    journal.close()
    whole = path.read_bytes()
    for length in range(first, len(whole)):
        path.write_bytes(whole[:length])
        assert [row["event"] for row in read_journal(path)] == ["opened"]
        resumed = Journal(path)
        resumed.write("update", round=7)
        resumed.close()
        assert [row["round"] for row in read_journal(path)] == [1, 7]


def test_a_second_writer_is_refused(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal.jsonl")
    with pytest.raises(JournalError, match="Another process is writing"):
        Journal(tmp_path / "journal.jsonl")
    journal.close()
    Journal(tmp_path / "journal.jsonl").close()


def test_a_second_writer_waits_for_the_first_one_to_end(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal.jsonl")
    journal.write("opened", round=1)
    threading.Timer(0.5, journal.close).start()
    second = Journal(tmp_path / "journal.jsonl", wait_s=30)
    assert [row["event"] for row in second.rows] == ["opened"]
    with pytest.raises(JournalError, match="Another process is writing"):
        Journal(tmp_path / "journal.jsonl", wait_s=0.2)


def test_a_journal_with_the_former_names_is_still_read(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    path.write_bytes(b'{"event": "answer", "turn": 3, "edge": "a", "answers": 2}\n')
    row = {"event": "update", "round": 3, "edge": "a", "trained_round": 2}
    assert read_journal(path) == [row]
    journal = Journal(path)
    assert journal.events("update") == [row]
    journal.close()


@pytest.mark.parametrize("line", [b"not json\n", b"[1]\n", b'{"round": 1}\n'])
def test_a_damaged_line_is_named(tmp_path: Path, line: bytes) -> None:
    path = tmp_path / "journal.jsonl"
    path.write_bytes(b'{"event": "opened"}\n' + line)
    with pytest.raises(JournalError, match="line 2"):
        Journal(path)
