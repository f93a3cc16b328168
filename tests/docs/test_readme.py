"""The README: short, and every command works when pasted in order after `make demo` and `make test`."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"^```bash\n(.*?)^```", README, re.DOTALL | re.MULTILINE)
# These build an environment, need a phone, or wait for Ctrl-C.
NOT_HERE = ("make ", "git ", "pip ", "pipx ", "adb ", "bench device", "mvstylizer studio")


def test_it_has_under_200_lines() -> None:
    assert README.count("\n") < 200


def test_it_starts_with_the_two_make_commands() -> None:
    assert re.findall(r"^make (\w+)", BLOCKS[0], re.MULTILINE) == ["demo", "test"]


def test_a_block_has_at_most_six_lines() -> None:
    assert max(block.count("\n") for block in BLOCKS) <= 6


@pytest.mark.long
@pytest.mark.server
def test_every_line_works_when_pasted(tmp_path: Path) -> None:
    for name in (".venv", "samples", "models", "examples"):
        (tmp_path / name).symlink_to(ROOT / name)
    lines = [line for block in BLOCKS for line in block.splitlines() if not any(w in line for w in NOT_HERE)]
    assert len(lines) > 8
    script = "\n".join(["set -em -o pipefail", *lines])  # -m: `kill %1` as in a terminal
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        ["bash", "-c", script], cwd=tmp_path, capture_output=True, text=True, env=environment, timeout=3000
    )
    assert done.returncode == 0, done.stderr
    made = {path.name for path in tmp_path.iterdir() if not path.is_symlink()}
    assert made == {
        "dusk.mp4",
        "warp.mp4",
        "exported",
        "exported.mp4",
        "graphs",
        "served.mp4",
        "client.jpg",
    }
