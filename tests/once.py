"""Results of expensive work, computed once per test run and shared by all of its processes."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from filelock import FileLock


def once(name: str, factory: pytest.TempPathFactory, make: Callable[[Path], None]) -> Path:
    """Return a folder that one process of the test run fills while the others wait.

    Tests must not change the folder: other processes read it. A `make` that fails runs again in the next
    process that needs the folder.

    Args:
        name: Identifies the folder within the run.
        factory: The fixture `tmp_path_factory`.
        make: Fills the folder that it is given, which exists and is empty.
    """
    base = factory.getbasetemp()
    run = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base  # workers have sub-folders of one run
    folder, part = run / name, run / f"{name}.part"
    with FileLock(run / f"{name}.lock"):
        if not folder.is_dir():
            shutil.rmtree(part, ignore_errors=True)
            part.mkdir()
            make(part)
            part.rename(folder)
    return folder
