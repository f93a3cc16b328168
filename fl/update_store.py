"""The updates of the edges on disk: a checked file for each, and its row in the journal.

    federation/00003/updates/EDGE.safetensors

An update that breaks a limit, or whose file is damaged, is discarded with a reason; its edge trains again.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from fl.fleet import EdgeUpdate
from fl.journal import Journal, Row
from fl.limits import check_claims, short
from fl.parameters import (
    Parameters,
    ParametersError,
    check_parameters,
    fingerprint,
    map_parameters,
    write_parameters,
)

UPDATES = "updates"


class UpdateStore:
    """The updates of one federation folder.

    Args:
        folder: Folder of the federation.
        journal: Its journal.
    """

    def __init__(self, folder: Path, journal: Journal) -> None:
        self._folder = folder
        self._journal = journal

    def add(self, update: EdgeUpdate, server_round: int, like: Parameters) -> None:
        """Store an update, then record it in the journal; an invalid one is recorded with its reason."""
        row: Row = {"round": server_round, "edge": update.edge, "trained_round": update.server_round}
        try:
            parameters = _checked(update, like)
        except ParametersError as err:
            row["edge"] = short(update.edge)
            self._journal.write("discarded", **row, reason=short(err.message))
            return
        write_parameters(self._path(server_round, update.edge), parameters, {})
        if update.epsilon:
            row["epsilon"] = update.epsilon
        self._journal.write("update", **row, frames=update.frames, losses=update.losses, sha256=update.sha256)

    def received(self, server_round: int) -> dict[str, Row]:
        """Return the row of each edge's valid update in a round."""
        received: dict[str, Row] = {}
        for row in self._journal.events("update", "discarded"):
            if row["round"] != server_round:
                continue
            if row["event"] == "update":
                received[row["edge"]] = row
            else:
                received.pop(row["edge"], None)
        return received

    def recheck(self, server_round: int, like: Parameters) -> None:
        """Check the updates of an unfinished round again, and discard those that do not pass."""
        for edge, row in self.received(server_round).items():
            try:
                check_claims(edge, row["frames"], row["losses"], row.get("epsilon", 0.0))
                check_parameters(self.parameters(row), like, edge)
                if fingerprint(self.parameters(row)) != row["sha256"]:
                    raise ParametersError(f"The stored parameters of {edge} have changed")
            except ParametersError as err:
                self._journal.write("discarded", round=server_round, edge=edge, reason=short(err.message))

    def parameters(self, row: Row) -> Parameters:
        """Memory-map the parameters of an update.

        Raises:
            ParametersError: The file is missing or damaged.
        """
        return map_parameters(self._path(row["round"], row["edge"]))[0]

    def delete(self, server_round: int) -> None:
        """Delete the files of a round."""
        shutil.rmtree(self._path(server_round, "").parent, ignore_errors=True)

    def _path(self, server_round: int, edge: str) -> Path:
        return self._folder / f"{server_round:05d}" / UPDATES / f"{edge}.safetensors"


def _checked(update: EdgeUpdate, like: Parameters) -> Parameters:
    """Return the parameters of a valid update.

    Raises:
        ParametersError: Training failed, a value breaks a limit, or the parameters are damaged.
    """
    check_claims(update.edge, update.frames, update.losses, update.epsilon)
    if update.parameters is None:
        raise ParametersError(update.error)
    check_parameters(update.parameters, like, update.edge)
    if fingerprint(update.parameters) != update.sha256:
        raise ParametersError(f"The parameters from {update.edge} do not match their fingerprint")
    return update.parameters
