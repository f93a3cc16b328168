"""Other methods (peers): commands that read a content and a style and write a result."""

from __future__ import annotations

import json
import shlex
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from mvstylizer.errors import MVStylizerError

FIELDS: Final = ("content", "style", "out")


class PeerError(MVStylizerError):
    """A peer's command is invalid, fails, or writes no result."""


@dataclass(frozen=True)
class PeerRun:
    """One run of a peer.

    Attributes:
        process_seconds: Wall time of the process.
        seconds: Time of the stylization alone if the peer reports it (the last line of its output is a JSON
            object with ``seconds``), else None.
    """

    process_seconds: float
    seconds: float | None


@dataclass(frozen=True)
class Peer:
    """The command of another method.

    Attributes:
        name: Name in the tables.
        command: Command with ``{content}``, ``{style}`` and ``{out}``, which are replaced by PNG paths.
    """

    name: str
    command: str

    @classmethod
    def parse(cls, text: str) -> Peer:
        """Read ``NAME=COMMAND``.

        Raises:
            PeerError: The name or one of the three fields is missing.
        """
        name, _, command = text.partition("=")
        missing = [field for field in FIELDS if f"{{{field}}}" not in command]
        if not name or missing:
            raise PeerError(
                f"{text!r} is not a valid peer",
                "Use NAME=COMMAND, where the command contains {content}, {style} and {out}",
            )
        return cls(name.strip(), command)

    def run(self, content: Path, style: Path, out: Path, *, timeout: float = 600) -> PeerRun:
        """Run the command once.

        Raises:
            PeerError: The command cannot be started, fails, exceeds `timeout` seconds, or writes no result.
        """
        paths: Mapping[str, Path] = {"content": content, "style": style, "out": out}
        words = []
        for word in shlex.split(self.command):
            for field, path in paths.items():
                word = word.replace(f"{{{field}}}", str(path))
            words.append(word)
        out.unlink(missing_ok=True)
        began = time.perf_counter()
        try:
            done = subprocess.run(words, capture_output=True, text=True, timeout=timeout, check=False)
        except (OSError, subprocess.TimeoutExpired) as err:
            raise PeerError(f"Peer {self.name}: {err}", "Run its command manually") from err
        seconds = time.perf_counter() - began
        if done.returncode or not out.is_file():
            last = (done.stderr.strip().splitlines() or ["no output"])[-1]
            raise PeerError(
                f"Peer {self.name} exited with status {done.returncode} and "
                f"{'a' if out.is_file() else 'no'} result: {last}",
                "Run its command manually",
            )
        return PeerRun(seconds, _reported_seconds(done.stdout))


def _reported_seconds(output: str) -> float | None:
    try:
        report = json.loads((output.strip().splitlines() or [""])[-1])
    except ValueError:
        return None
    seconds = report.get("seconds") if isinstance(report, dict) else None
    return float(seconds) if isinstance(seconds, int | float) else None
