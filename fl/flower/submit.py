"""`mvstylizer federate submit`: submit a run to the cloud's SuperLink and follow it to its end."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
import uuid
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from fl.flower.cloud import CONNECTION, CloudFolder
from fl.flower.processes import FederationError, exception_line, last_lines, program
from fl.flower.run_config import RunConfig
from fl.journal import Row, read_journal
from fl.parameters import sync_folder
from fl.rounds import JOURNAL
from training.checkpoint import read_info

# Flower ships an app to the edges; ours is already installed there, so this one only refers to it.
_APP = """[project]
name = "mvstylizer-federation"
version = "1.0.0"
description = "Federated retraining of the stylizer"
license = { file = "LICENSE" }
dependencies = ["flwr>=1.41.0,<1.42"]

[tool.flwr.app]
publisher = "mvstylizer"
fab-format-version = 1
flwr-version-target = "1.41.0"

[tool.flwr.app.components]
serverapp = "fl.flower.server_app:app"
clientapp = "fl.flower.client_app:app"

[tool.flwr.app.config]
"""


def submit(
    root: Path,
    config: RunConfig,
    *,
    start: Path | None = None,
    progress: Callable[[Row], None] = lambda row: None,
) -> list[Row]:
    """Run rounds on a cloud started by `federate cloud`.

    Args:
        root: The cloud's folder.
        config: Settings of the run.
        start: Initial checkpoint; required the first time.
        progress: Called with each new journal entry.

    Returns:
        The journal entries of the run.

    Raises:
        FederationError: The cloud is not prepared or cannot be reached, or the run failed.
        CheckpointError: The initial checkpoint cannot be read.
    """
    cloud = CloudFolder(root)
    if not (cloud.flower / "config.toml").is_file():
        raise FederationError(f"{root} is not a cloud folder", "Start `mvstylizer federate cloud` first")
    if start is not None and not cloud.start.is_file():
        _copy_start(start, cloud.start)
    config = replace(config, submission=uuid.uuid4().hex)
    log = cloud.flower / "run.log"
    with tempfile.TemporaryDirectory() as app:
        write_app(Path(app), config)
        rows = _follow(cloud, Path(app), config, log, progress)
    _check(rows, config, log)
    return rows


def _copy_start(source: Path, start: Path) -> None:
    """Copy the initial checkpoint; a copy that was interrupted is not taken for it.

    Raises:
        CheckpointError: The checkpoint cannot be read.
        FederationError: The disk is full.
    """
    part = start.with_name(f"{start.name}.part")
    read_info(source)
    try:
        shutil.copyfile(source, part)
        with part.open("rb") as stream:
            os.fsync(stream.fileno())
        read_info(part)
        part.replace(start)
        sync_folder(start.parent)
    except OSError as err:
        raise FederationError(f"Cannot write {start}: {err}", "Free disk space") from err
    finally:
        part.unlink(missing_ok=True)


def _follow(
    cloud: CloudFolder, app: Path, config: RunConfig, log: Path, progress: Callable[[Row], None]
) -> list[Row]:
    """Run an app and return the journal entries written meanwhile."""
    journal = cloud.federation / JOURNAL
    seen = len(_rows(journal))
    rows: list[Row] = []
    argv = [program("flwr"), "run", str(app), CONNECTION, "--stream"]
    with (
        log.open("w") as output,
        subprocess.Popen(argv, env=cloud.environment(), stdout=output, stderr=output) as run,
    ):
        try:
            while True:
                has_exited = run.poll() is not None
                for row in _rows(journal)[seen + len(rows) :]:
                    rows.append(row)
                    progress(row)
                if has_exited or _is_over(rows, config):
                    return rows
                _pause(run)
        finally:
            run.terminate()


def _pause(run: subprocess.Popen[bytes]) -> None:
    try:
        run.wait(1.0)
    except subprocess.TimeoutExpired:
        return


def _is_over(rows: list[Row], config: RunConfig) -> bool:
    return any(
        row["event"] in {"finished", "stopped"} and row["submission"] == config.submission for row in rows
    )


def _check(rows: list[Row], config: RunConfig, log: Path) -> None:
    hint = "Submit again to resume the unfinished round"
    ours = [row for row in rows if row.get("submission") == config.submission]
    if not ours:
        raise FederationError(
            f"The run exited without a result: {exception_line(log) or last_lines(log)}", hint
        )
    if ours[-1]["event"] == "stopped":
        raise FederationError(str(ours[-1]["reason"]), hint)


def _rows(journal: Path) -> list[Row]:
    return read_journal(journal) if journal.is_file() else []


def write_app(folder: Path, config: RunConfig) -> None:
    """Write a Flower app that runs ours with a configuration; the folder is created if missing."""
    folder.mkdir(parents=True, exist_ok=True)
    settings = "".join(f"{name} = {json.dumps(value)}\n" for name, value in config.as_dict().items())
    (folder / "pyproject.toml").write_text(_APP + settings)
    (folder / "LICENSE").write_text("Apache-2.0\n")
    (folder / "README.md").write_text("The apps are in `fl.flower` of the installed mvstylizer.\n")
