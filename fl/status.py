"""What a cloud's folder says about its federation: rounds, releases, and which edge runs which version."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from fl.journal import Row, read_journal
from fl.release import REGISTRY, versions
from fl.rounds import FEDERATION, JOURNAL
from mvstylizer.errors import MVStylizerError


class StatusError(MVStylizerError):
    """There is no federation to report on."""


def read_status(cloud: Path) -> dict[str, Any]:
    """Return the state of a cloud's folder, while its run goes on or not.

    Args:
        cloud: The folder.

    Returns:
        ``round``: the last one's row (accepted, refused or failed) or None; ``versions``: the released ones;
        ``edges``: by name its ``version`` (0 = none), its last ``answer``'s row, and ``error``.

    Raises:
        StatusError: No federation lies there.
        JournalError: Its journal is damaged.
    """
    path = cloud / FEDERATION / JOURNAL
    if not path.is_file():
        raise StatusError(f"{cloud} holds no federation", "Run `mvstylizer federate submit` first")
    rows = read_journal(path)
    edges: dict[str, dict[str, Any]] = {}
    for row in rows:
        if "edge" in row:
            state = edges.setdefault(row["edge"], {"version": 0, "answer": None, "error": ""})
            _note(state, row)
    ended = [row for row in rows if row["event"] in {"accepted", "refused", "failed"}]
    return {
        "round": ended[-1] if ended else None,
        "versions": versions(cloud / REGISTRY),
        "edges": edges,
    }


def table(status: dict[str, Any]) -> str:
    """Return the state as lines for people."""
    last = status["round"]
    lines = [
        f"Round {last['turn']}: {last['event']}" if last else "No round has ended yet",
        *(f"  {reason}" for reason in _reasons(last or {})),
        f"Releases: {', '.join(map(str, status['versions'])) or 'none'}",
        f"{'edge':20}{'version':>8}{'round':>7}{'frames':>8}  heard",
    ]
    for name, edge in sorted(status["edges"].items()):
        answer = edge["answer"] or {}
        heard = time.strftime("%Y-%m-%d %H:%M", time.localtime(answer["time"])) if answer else "never"
        numbers = f"{edge['version']:8}{answer.get('answers', '-'):>7}{answer.get('frames', '-'):>8}"
        lines.append(f"{name:20}{numbers}  {heard}  {edge['error']}".rstrip())
    return "\n".join(lines)


def _note(state: dict[str, Any], row: Row) -> None:
    if row["event"] == "rolled out":
        state["version"] = row["version"] or state["version"]
        state["error"] = row["error"]
    elif row["event"] == "answer":
        state["answer"], state["error"] = row, ""
    elif row["event"] == "discarded":
        state["error"] = row["reason"]


def _reasons(row: Row) -> list[str]:
    return [row["reason"]] if "reason" in row else list(row.get("reasons", []))
