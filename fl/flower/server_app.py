"""The cloud's Flower app: rounds through the grid, then the release of what was accepted."""

from __future__ import annotations

import os
import time
from pathlib import Path

from flwr.app import Context
from flwr.serverapp import Grid, ServerApp

from export.onnx_models.weight_swap import BaseBundle
from fl.flower.cloud import CloudFolder
from fl.flower.fleet import GridFleet
from fl.flower.order import Order
from fl.flower.processes import CLOUD_VARIABLE
from fl.release import publish, release_files, versions
from fl.rounds import Rounds
from mvstylizer.bundle import default_bundle, load_bundle
from mvstylizer.errors import MVStylizerError

ROLL_OUT_S = 600.0  # an edge that does not answer so long gets the release in the next run

app = ServerApp()


@app.main()
def main(grid: Grid, context: Context) -> None:
    """Run one submission; its end is in the journal either way."""
    cloud = CloudFolder(Path(os.environ[CLOUD_VARIABLE]))
    order = Order.read(context.run_config)
    rounds = Rounds(cloud.federation, cloud.start)
    try:
        fleet = GridFleet(grid, order)
        if order.rounds:
            from fl.gate import Gate

            gate = Gate(cloud.holdout, size=order.holdout_size)
            for _ in range(order.rounds):
                rounds.run(fleet, order.policy, gate)
        release_accepted(cloud, rounds)
        roll_out(cloud, rounds, fleet)
    except MVStylizerError as err:
        rounds.journal.write("stopped", submission=order.submission, reason=str(err))
        raise
    rounds.journal.write("finished", submission=order.submission)


def release_accepted(cloud: CloudFolder, rounds: Rounds) -> None:
    """Publish the accepted model unless it is the last release already (a kill may have come between)."""
    accepted = rounds.journal.events("begun", "accepted")[-1]
    released = rounds.journal.events("released")
    if released and released[-1]["turn"] == accepted["turn"]:
        return
    shipped = load_bundle(default_bundle())
    release = publish(
        rounds.model,
        cloud.registry,
        cloud.release_key,
        turn=accepted["turn"],
        metrics=accepted.get("scores", {}),
        after=shipped.version,
        base_bundle=BaseBundle(shipped, cloud.start),
    )
    rounds.journal.write("released", turn=release.turn, version=release.version)


def roll_out(cloud: CloudFolder, rounds: Rounds, fleet: GridFleet) -> None:
    """Send the last release to one edge, and when that one runs it, to the others."""
    version, files = versions(cloud.registry)[-1], release_files(cloud.registry)
    edges = list(fleet.edges())
    for group in (edges[:1], edges[1:]):
        waiting = set(group)
        for edge in group:
            fleet.release(edge, files)
        end = time.monotonic() + ROLL_OUT_S
        while waiting and time.monotonic() < end:
            for edge, installed, error in fleet.released():
                waiting.discard(edge)
                rounds.journal.write("rolled out", edge=edge, version=installed, error=error)
                if installed != version:
                    return
