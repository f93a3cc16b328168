"""The edge's log, and outputs that cannot be written."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PROGRAM = """
import logging, sys
from edge_triton.log import EdgeLog
log = EdgeLog(as_json=sys.argv[1] == "json")
log.start()
log.say("Serving on \\x1b[31mred")
logging.getLogger("edge_triton.access").info("ModelInfer OK", extra={"facts": {"ms": 1.5, "client": "ann"}})
for _ in range(int(sys.argv[2])):
    logging.getLogger("edge_triton.other").warning("a line \\x1b[31m of some length %s", "x" * 200)
try:
    1 / 0
except ZeroDivisionError:
    logging.getLogger("edge_triton.other").exception("failed")
log.close()
print("done")
"""


def run(form: str, lines: int, stderr: int) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", PROGRAM, form, str(lines)]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=stderr, text=True)


def test_json_lines() -> None:
    out, err = run("json", 1, subprocess.PIPE).communicate(timeout=60)
    assert out == "done\n"
    rows = [json.loads(line) for line in err.splitlines()]
    assert [row["level"] for row in rows] == ["info", "info", "warning", "error"]
    assert rows[1]["client"] == "ann"
    assert "ZeroDivisionError" in rows[3]["exception"]
    assert "\\x1b" not in repr([row["message"] for row in rows])


def test_text_has_warnings_only() -> None:
    _, err = run("text", 1, subprocess.PIPE).communicate(timeout=60)
    assert err.startswith("Serving on ")
    assert "warning: a line " in err
    assert "ModelInfer" not in err


@pytest.mark.parametrize("form", ["json", "text"])
def test_a_full_or_stuck_output_delays_nothing(form: str) -> None:
    with open("/dev/full", "w") as full:
        process = run(form, 2000, full.fileno())
        assert process.communicate(timeout=60)[0] == "done\n"
    process = run(form, 2000, subprocess.PIPE)  # 400 kB into a pipe that nobody reads
    assert process.stdout is not None
    assert process.stdout.readline() == "done\n"
    process.kill()
    process.communicate()


def test_native_output_is_logged_and_limited() -> None:
    program = PROGRAM.replace('print("done")', 'print("done"); print("mine", file=sys.stderr)').replace(
        "log.say(", 'import os; os.write(2, b"from C\\n" * 100_000); log.say('
    )
    command = [sys.executable, "-c", program, "json", "0"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.stdout == "done\n"
    *lines, last = done.stderr.splitlines()
    assert last == "mine"
    native = [row for row in map(json.loads, lines) if row["logger"] == "edge_triton.native"]
    assert 0 < len(native) < 100
    assert {row["message"] for row in native} == {"from C"}
