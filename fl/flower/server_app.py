"""The cloud's Flower app: run rounds, then release the accepted model and roll it out."""

from __future__ import annotations

import os
import time
from pathlib import Path

from flwr.app import Context
from flwr.serverapp import Grid, ServerApp
from flwr.supercore.run import RunNotRunningException

from export.onnx_models.weight_swap import BaseBundle
from fl.flower.cloud import CloudFolder
from fl.flower.fleet import GridFleet
from fl.flower.processes import CLOUD_VARIABLE, end_with_parent
from fl.flower.run_config import RunConfig
from fl.release import publish, release_files, versions
from fl.rounds import Rounds
from mvstylizer.bundle import default_bundle, load_bundle
from mvstylizer.errors import MVStylizerError

LOCK_TIMEOUT_S = 30.0  # Flower takes up to 10 s to end the run of a SuperLink that was killed
ROLL_OUT_TIMEOUT_S = 600.0  # an edge that replies later gets the release in the next run

app = ServerApp()


@app.main()
def main(grid: Grid, context: Context) -> None:
    """Run one submission; the journal records how it ended.

    Raises:
        JournalError: Another run is writing the journal; the only ending that is not recorded.
    """
    end_with_parent()
    cloud = CloudFolder(Path(os.environ[CLOUD_VARIABLE]))
    config = RunConfig.read(context.run_config)
    rounds = Rounds(cloud.federation, cloud.start, wait_s=LOCK_TIMEOUT_S)
    try:
        run_rounds(cloud, rounds, GridFleet(grid, config), config)
    except MVStylizerError as err:
        rounds.journal.write("stopped", submission=config.submission, reason=str(err))
        raise
    except (Exception, RunNotRunningException) as err:
        reason = f"{type(err).__name__}: {err}".removesuffix(": ")
        rounds.journal.write("stopped", submission=config.submission, reason=reason)
        raise
    rounds.journal.write("finished", submission=config.submission)


def run_rounds(cloud: CloudFolder, rounds: Rounds, fleet: GridFleet, config: RunConfig) -> None:
    """Run the rounds of a submission, then release and roll out the accepted model."""
    if config.rounds:
        from fl.gate import Gate

        gate = Gate(cloud.holdout, size=config.holdout_size)
        for _ in range(config.rounds):
            rounds.run(fleet, config.round_config, gate)
    release_accepted(cloud, rounds)
    roll_out(cloud, rounds, fleet)


def release_accepted(cloud: CloudFolder, rounds: Rounds) -> None:
    """Publish the accepted model unless it is already released (this process may have been killed since)."""
    accepted = rounds.journal.events("begun", "accepted")[-1]
    released = rounds.journal.events("released")
    if released and released[-1]["round"] == accepted["round"]:
        return
    shipped = load_bundle(default_bundle())
    release = publish(
        rounds.model,
        cloud.registry,
        cloud.release_key,
        server_round=accepted["round"],
        metrics=accepted.get("scores", {}),
        after=shipped.version,
        base_bundle=BaseBundle(shipped, cloud.start),
    )
    rounds.journal.write("released", round=release.turn, version=release.version)


def roll_out(cloud: CloudFolder, rounds: Rounds, fleet: GridFleet) -> None:
    """Send the last release to one edge and, once that edge runs it, to the others."""
    version, files = versions(cloud.registry)[-1], release_files(cloud.registry)
    edges = list(fleet.edges())
    for group in (edges[:1], edges[1:]):
        waiting = set(group)
        for edge in group:
            fleet.send_release(edge, files)
        end = time.monotonic() + ROLL_OUT_TIMEOUT_S
        while waiting and time.monotonic() < end:
            for edge, installed, error in fleet.installed():
                waiting.discard(edge)
                rounds.journal.write("rolled out", edge=edge, version=installed, error=error)
                if installed != version:
                    return
