"""The edge's Flower app: retrain on request, and install releases."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from flwr.app import Array, ArrayRecord, ConfigRecord, Context, Error, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp

from fl.edge_metrics import wait_until_idle, wait_until_served
from fl.edge_privacy import EdgePrivacy, charge
from fl.flower.edge import NICE, EdgeFolder
from fl.flower.fleet import CONFIG, EPSILON, LOSSES, MODEL, RELEASE, SERVER_ROUND, UPDATE
from fl.flower.processes import (
    CLIP_VARIABLE,
    EDGE_VARIABLE,
    METRICS_VARIABLE,
    NICE_VARIABLE,
    NOISE_VARIABLE,
    end_with_parent,
)
from fl.flower.run_config import RunConfig
from fl.parameters import fingerprint, map_parameters, trained, write_parameters
from fl.release import install, is_newest, versions, withdraw
from mvstylizer.errors import MVStylizerError
from mvstylizer.release import ReleaseError

if TYPE_CHECKING:
    from fl.local_training import LocalUpdate

ERROR_CODE = 1000  # Flower's own codes are lower
SERVE_TIMEOUT_S = 120.0  # the gateway takes seconds to load, test and promote a version

app = ClientApp()


@app.train()
def train(message: Message, context: Context) -> Message:
    """Retrain the received model on the spool; reply with parameters, frame count, losses and fingerprint.

    With differential privacy at this edge, the parameters are noisy and there are no losses.
    """
    from fl.local_training import retrain

    end_with_parent()
    lower_priority()
    edge = _edge()
    record = message.content.config_records[CONFIG]
    config = RunConfig.read(record)
    try:
        start, server_round = _write_start(edge, message), int(str(record[SERVER_ROUND]))
        update = retrain(
            start,
            edge.spool,
            steps=config.steps,
            config=config.step,
            server_round=server_round,
            fedprox_mu=config.fedprox_mu,
            pause=lambda: wait_until_idle(os.environ.get(METRICS_VARIABLE, "")),
        )
        update, spent = _private(edge, update, start, server_round)
    except MVStylizerError as err:
        return Message(Error(ERROR_CODE, str(err)), reply_to=message)
    content = RecordDict(
        {
            MODEL: ArrayRecord({k: Array(np.ascontiguousarray(v)) for k, v in update.parameters.items()}),
            UPDATE: ConfigRecord({"frames": update.frames, "sha256": update.sha256, EPSILON: spent}),
            LOSSES: MetricRecord({**update.losses}),
        }
    )
    return Message(content, reply_to=message)


@app.query()
def release(message: Message, context: Context) -> Message:
    """Verify and install the received release; if it is already installed, only confirm it."""
    edge = _edge()
    received = message.content.config_records[RELEASE]
    files = [(name, value) for name, value in received.items() if isinstance(value, bytes)]
    try:
        if not is_newest(files, edge.releases):
            folder = install(files, edge.releases, edge.release_pub)
            _wait_until_served(edge, int(folder.name))
    except MVStylizerError as err:
        return Message(Error(ERROR_CODE, str(err)), reply_to=message)
    content = RecordDict({RELEASE: ConfigRecord({"version": versions(edge.releases)[-1]})})
    return Message(content, reply_to=message)


def lower_priority() -> None:
    """Lower this process's priority, so that training yields to other programs."""
    os.nice(int(os.environ.get(NICE_VARIABLE, NICE)))


def _private(
    edge: EdgeFolder, update: LocalUpdate, start: Path, server_round: int
) -> tuple[LocalUpdate, float]:
    """Return what may leave the edge, and the epsilon it has spent; 0 without privacy at this edge.

    Raises:
        PrivacyError, JournalError: The privacy spent cannot be recorded.
    """
    noise = float(os.environ.get(NOISE_VARIABLE, "0"))
    if noise == 0:
        return update, 0.0
    privacy = EdgePrivacy(noise, float(os.environ[CLIP_VARIABLE]))
    noised = privacy.noised(trained(map_parameters(start)[0]), update.parameters)
    spent = charge(edge.root, privacy, server_round)
    return replace(update, parameters=noised, losses={}, sha256=fingerprint(noised)), spent


def _write_start(edge: EdgeFolder, message: Message) -> Path:
    """Write the received model as a checkpoint and return its path.

    Raises:
        ParametersError: The disk is full.
    """
    config = message.content.config_records[CONFIG]
    header = {k.removeprefix("header."): str(v) for k, v in config.items() if k.startswith("header.")}
    parameters = {name: array.numpy() for name, array in message.content.array_records[MODEL].items()}
    start = edge.flower / "start.safetensors"
    write_parameters(start, parameters, header)
    return start


def _wait_until_served(edge: EdgeFolder, version: int) -> None:
    """Wait until the gateway serves a version; withdraw the version if it does not.

    Raises:
        ReleaseError: The gateway does not serve it; phones get the previous version.
    """
    metrics = os.environ.get(METRICS_VARIABLE, "")
    if metrics and not wait_until_served(metrics, version, SERVE_TIMEOUT_S):
        withdraw(edge.releases, version)
        raise ReleaseError(
            f"The gateway does not serve version {version} after {SERVE_TIMEOUT_S:g} s", "Read its log"
        )


def _edge() -> EdgeFolder:
    return EdgeFolder(Path(os.environ[EDGE_VARIABLE]))
