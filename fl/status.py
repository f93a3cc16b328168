"""The state of a federation: rounds, releases, and the version that each edge runs."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any, Final

from fl.edge_privacy import DELTA, LEDGER, spent
from fl.journal import Row, read_journal
from fl.release import REGISTRY, versions
from fl.rounds import FEDERATION, JOURNAL
from mvstylizer.errors import MVStylizerError

SCHEMA_VERSION: Final = 2  # of the status as JSON (docs/schemas.md)


class NoFederationError(MVStylizerError):
    """The folder contains no federation."""


def read_status(cloud: Path) -> dict[str, Any]:
    """Return the state of a cloud folder, or the privacy spent by an edge folder; a run may be in progress.

    Args:
        cloud: The folder.

    Returns:
        For an edge ``schema_version``, ``updates`` (sent with noise), ``epsilon``, ``delta``. For a cloud
        ``schema_version``: 2; ``round``: journal entry of the last round (accepted, refused or failed), or
        None; ``versions``: released versions; ``edges``: by name, ``version`` (0 = none), ``update`` (journal
        entry of the last update, or None), ``epsilon`` (of the edge's own noise, 0 = none) and ``error``.

    Raises:
        NoFederationError: The folder contains no federation.
        JournalError: The journal is damaged.
    """
    path = cloud / FEDERATION / JOURNAL
    if not path.is_file():
        if (cloud / LEDGER).is_file():
            updates, epsilon = spent(cloud)
            return {"schema_version": SCHEMA_VERSION, "updates": updates, "epsilon": epsilon, "delta": DELTA}
        raise NoFederationError(f"{cloud} contains no federation", "Run `mvstylizer federate submit` first")
    rows = read_journal(path)
    edges: dict[str, dict[str, Any]] = {}
    for row in rows:
        if "edge" in row:
            state = edges.setdefault(row["edge"], {"version": 0, "update": None, "epsilon": 0.0, "error": ""})
            _apply(state, row)
    ended = [row for row in rows if row["event"] in {"accepted", "refused", "failed"}]
    return {
        "schema_version": SCHEMA_VERSION,
        "round": ended[-1] if ended else None,
        "versions": versions(cloud / REGISTRY),
        "edges": edges,
    }


def table(status: dict[str, Any]) -> str:
    """Return the state as human-readable lines."""
    if "updates" in status:
        return (
            f"{status['updates']} updates left this edge with noise: epsilon {status['epsilon']:g} "
            f"at delta {status['delta']:g}"
        )
    last = status["round"]
    lines = [
        f"Round {last['round']}: {last['event']}" if last else "No round has finished yet",
        *(f"  {reason}" for reason in _reasons(last or {})),
        f"Releases: {', '.join(map(str, status['versions'])) or 'none'}",
        f"{'edge':20}{'version':>8}{'round':>7}{'frames':>8}{'epsilon':>9}  last update",
    ]
    for name, edge in sorted(status["edges"].items()):
        update = edge["update"] or {}
        when = time.strftime("%Y-%m-%d %H:%M", time.localtime(update["time"])) if update else "never"
        numbers = f"{edge['version']:8}{update.get('trained_round', '-'):>7}{update.get('frames', '-'):>8}"
        numbers += f"{edge['epsilon'] or '-':>9}"
        lines.append(f"{name:20}{numbers}  {when}  {edge['error']}".rstrip())
    return "\n".join(lines)


def _apply(state: dict[str, Any], row: Row) -> None:
    if row["event"] == "rolled out":
        state["version"] = row["version"] or state["version"]
        state["error"] = row["error"]
    elif row["event"] == "update":
        state["update"], state["epsilon"], state["error"] = row, row.get("epsilon", 0.0), ""
    elif row["event"] == "discarded":
        state["error"] = row["reason"]


def _reasons(row: Row) -> list[str]:
    return [row["reason"]] if "reason" in row else list(row.get("reasons", []))
