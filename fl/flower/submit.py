"""`mvstylizer federate submit`: a run of some rounds on the cloud's SuperLink, to its end."""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
import uuid
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from fl.flower.cloud import CONNECTION, CloudFolder
from fl.flower.order import Order
from fl.flower.processes import FederationError, last_lines, program
from fl.journal import Row, read_journal
from fl.rounds import JOURNAL
from training.checkpoint import read_info

# Flower ships an app to the edges; ours is installed there already, so this one only names it.
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
    root: Path, order: Order, *, start: Path | None = None, progress: Callable[[Row], None] = lambda row: None
) -> list[Row]:
    """Run an order on a cloud that `federate cloud` keeps up, and return what the journal says of it.

    Args:
        root: The cloud's folder.
        order: Rounds and how.
        start: Checkpoint to begin with; needed the first time.
        progress: Called with each row of the journal as it appears.

    Raises:
        FederationError: The cloud is not prepared or reached, or the run did not finish: the reason is the
            journal's.
        CheckpointError: The start is no checkpoint.
    """
    cloud = CloudFolder(root)
    if not (cloud.flower / "config.toml").is_file():
        raise FederationError(f"{root} is no cloud's folder", "Start `mvstylizer federate cloud` first")
    if start is not None and not cloud.start.is_file():
        read_info(start)
        shutil.copy(start, cloud.start)
    journal = cloud.federation / JOURNAL
    seen = len(_rows(journal))
    order = replace(order, submission=uuid.uuid4().hex)
    log = cloud.flower / "run.log"
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as app, log.open("w") as output:
        _write_app(Path(app), order)
        argv = [program("flwr"), "run", app, CONNECTION, "--stream"]
        with subprocess.Popen(argv, env=cloud.environment(), stdout=output, stderr=output) as run:
            try:
                while True:
                    ended = run.poll() is not None
                    for row in _rows(journal)[seen + len(rows) :]:
                        rows.append(row)
                        progress(row)
                    if ended or _is_over(rows, order):
                        break
                    _pause(run)
            finally:
                run.terminate()
    _check(rows, order, log)
    return rows


def _pause(run: subprocess.Popen[bytes]) -> None:
    try:
        run.wait(1.0)
    except subprocess.TimeoutExpired:
        return


def _is_over(rows: list[Row], order: Order) -> bool:
    return any(
        row["event"] in {"finished", "stopped"} and row["submission"] == order.submission for row in rows
    )


def _check(rows: list[Row], order: Order, log: Path) -> None:
    again = "Submit again: it resumes with the round that was not finished"
    ours = [row for row in rows if row.get("submission") == order.submission]
    if not ours:
        raise FederationError(f"The run ended without a word: {last_lines(log)}", again)
    if ours[-1]["event"] == "stopped":
        raise FederationError(str(ours[-1]["reason"]), again)


def _rows(journal: Path) -> list[Row]:
    return read_journal(journal) if journal.is_file() else []


def _write_app(folder: Path, order: Order) -> None:
    config = "".join(f"{name} = {json.dumps(value)}\n" for name, value in order.as_dict().items())
    (folder / "pyproject.toml").write_text(_APP + config)
    (folder / "LICENSE").write_text("Apache-2.0\n")
    (folder / "README.md").write_text("The apps are `fl.flower` of the installed mvstylizer.\n")
