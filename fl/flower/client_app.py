"""An edge's Flower app: retrain when asked, install a release when one comes."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
from flwr.app import Array, ArrayRecord, ConfigRecord, Context, Error, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp

from fl.edge_metrics import wait_until_idle, wait_until_served
from fl.flower.edge import NICE, EdgeFolder
from fl.flower.fleet import LOSSES, MODEL, ORDER, RELEASE, UPDATE
from fl.flower.order import Order
from fl.flower.processes import EDGE_VARIABLE, METRICS_VARIABLE, NICE_VARIABLE
from fl.parameters import write_parameters
from fl.release import install, is_newest, versions, withdraw
from mvstylizer.errors import MVStylizerError
from mvstylizer.release import ReleaseError

REFUSED = 1000  # error code of ours; Flower's own are below
SERVED_S = 120.0  # the gateway loads, tries and promotes a version in some seconds

app = ClientApp()


@app.train()
def train(message: Message, context: Context) -> Message:
    """Retrain the sent model on the spool; answer with parameters, frames, losses and hash."""
    from fl.site import retrain

    be_polite()
    edge = _edge()
    config = message.content.config_records[ORDER]
    order = Order.read(config)
    header = {k.removeprefix("header."): str(v) for k, v in config.items() if k.startswith("header.")}
    received = message.content.array_records[MODEL]
    start = edge.flower / "start.safetensors"
    try:
        write_parameters(start, {name: array.numpy() for name, array in received.items()}, header)
        update = retrain(
            start,
            edge.spool,
            steps=order.steps,
            config=order.step,
            turn=int(str(config["turn"])),
            proximal=order.proximal,
            pause=lambda: wait_until_idle(os.environ.get(METRICS_VARIABLE, "")),
        )
    except MVStylizerError as err:
        return Message(Error(REFUSED, str(err)), reply_to=message)
    content = RecordDict(
        {
            MODEL: ArrayRecord({k: Array(np.ascontiguousarray(v)) for k, v in update.parameters.items()}),
            UPDATE: ConfigRecord({"frames": update.frames, "sha256": update.sha256}),
            LOSSES: MetricRecord({**update.losses}),
        }
    )
    return Message(content, reply_to=message)


@app.query()
def release(message: Message, context: Context) -> Message:
    """Verify and install the sent release; one that is there already is only confirmed."""
    edge = _edge()
    sent = message.content.config_records[RELEASE]
    files = [(name, value) for name, value in sent.items() if isinstance(value, bytes)]
    try:
        if not is_newest(files, edge.releases):
            folder = install(files, edge.releases, edge.release_pub)
            _see_it_served(edge, int(folder.name))
    except MVStylizerError as err:
        return Message(Error(REFUSED, str(err)), reply_to=message)
    content = RecordDict({RELEASE: ConfigRecord({"version": versions(edge.releases)[-1]})})
    return Message(content, reply_to=message)


def _see_it_served(edge: EdgeFolder, version: int) -> None:
    """Wait until the gateway answers phones with a version; one that it refuses is withdrawn.

    Raises:
        ReleaseError: It does not serve it; phones get the version before.
    """
    metrics = os.environ.get(METRICS_VARIABLE, "")
    if metrics and not wait_until_served(metrics, version, SERVED_S):
        withdraw(edge.releases, version)
        raise ReleaseError(
            f"The gateway does not serve version {version} after {SERVED_S:g} s", "Read its log"
        )


def be_polite() -> None:
    """Give way to the rest of the machine."""
    os.nice(int(os.environ.get(NICE_VARIABLE, NICE)))


def _edge() -> EdgeFolder:
    return EdgeFolder(Path(os.environ[EDGE_VARIABLE]))
