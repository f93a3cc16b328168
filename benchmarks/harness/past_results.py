"""Results of a past commit of this repository."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Final

from benchmarks.harness.registry import BENCHES
from benchmarks.harness.result import ResultError

FOLDER: Final = "benchmarks/results"


def results_at(revision: str, folder: Path) -> Path:
    """Write the committed results of a revision to a folder and return it.

    Args:
        revision: A tag, branch or commit, as git knows it.
        folder: Where to write ``NAME.json``; it exists.

    Raises:
        ResultError: This is not a git repository, or the revision is unknown or has no results.
    """
    commit = _git("rev-parse", "--verify", "--quiet", "--end-of-options", f"{revision}^{{commit}}")
    if commit is None:
        raise ResultError(
            f"{revision} is neither a file or folder of results nor a commit of this repository",
            "Pass result files, two folders, or a tag such as v0.1.0",
        )
    for bench in BENCHES:
        text = _git("show", f"{commit.decode().strip()}:{FOLDER}/{bench.name}.json")
        if text is not None:
            (folder / f"{bench.name}.json").write_bytes(text)
    return folder


def _git(*words: str) -> bytes | None:
    """Return what a git command prints, or None if it fails or git is missing."""
    try:
        return subprocess.run(["git", *words], check=True, capture_output=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return None
