"""Other methods, run in the same session: a command that takes a content and a style and writes a result."""

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
    """A peer's command is not understood, fails, or writes no result."""


@dataclass(frozen=True)
class PeerRun:
    """One run of a peer.

    Attributes:
        process_seconds: From start to end of the process: what a user waits.
        seconds: Of the stylization alone when the peer tells (a last line of output that is a JSON object
            with ``seconds``), else None.
    """

    process_seconds: float
    seconds: float | None


@dataclass(frozen=True)
class Peer:
    """Another method's command line.

    Attributes:
        name: What the tables call it.
        command: Words with ``{content}``, ``{style}`` and ``{out}``, which become paths of PNG files.
    """

    name: str
    command: str

    @classmethod
    def parse(cls, text: str) -> Peer:
        """Read ``NAME=COMMAND``.

        Raises:
            PeerError: There is no name, or one of the three fields is missing.
        """
        name, _, command = text.partition("=")
        missing = [field for field in FIELDS if f"{{{field}}}" not in command]
        if not name or missing:
            raise PeerError(
                f"{text!r} is no peer",
                "Write NAME=COMMAND, the command with {content}, {style} and {out} in it",
            )
        return cls(name.strip(), command)

    def run(self, content: Path, style: Path, out: Path, *, timeout: float = 600) -> PeerRun:
        """Run it once.

        Raises:
            PeerError: It cannot be started, fails, takes longer than `timeout` seconds, or writes nothing.
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
            raise PeerError(f"Peer {self.name}: {err}", "Try its command by hand") from err
        seconds = time.perf_counter() - began
        if done.returncode or not out.is_file():
            last = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
            raise PeerError(
                f"Peer {self.name} ended with {done.returncode} and {'a' if out.is_file() else 'no'} result: "
                f"{last}",
                "Try its command by hand",
            )
        return PeerRun(seconds, _told(done.stdout))


def _told(output: str) -> float | None:
    try:
        told = json.loads((output.strip().splitlines() or [""])[-1])
    except ValueError:
        return None
    seconds = told.get("seconds") if isinstance(told, dict) else None
    return float(seconds) if isinstance(seconds, int | float) else None
