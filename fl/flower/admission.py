"""Admit edges whose public keys are in the cloud's folder ``edges/``, and shut out those whose are not.

A file that is not a whole public key under a valid edge name is set aside: it is reported once, and looked
at again when it changes. No file in the folder ends the cloud.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from fl.flower.node_auth import NodeKeys, PublicKey, read_node_key
from fl.limits import is_edge_name, short
from mvstylizer.regular_file import read_regular

SUFFIX = ".pub"
MAX_KEY_BYTES = 16_384
RETRY_S = 30.0

Register = Callable[[str, PublicKey], str]
"""Registers a key under an edge's name unless it is registered; returns why that failed, or nothing."""

_State = tuple[int, int]  # size and time of the last change: a file that is being copied has a new one


@dataclass(frozen=True)
class _Edge:
    content: bytes
    key: PublicKey


class Admission:
    """The keys in a folder.

    Args:
        folder: Folder that keys are copied to.
        register: Registers a key.
        report: Called with one line for each edge that is admitted or shut out, and each file set aside.
    """

    def __init__(self, folder: Path, register: Register, report: Callable[[str], None]) -> None:
        self.keys = NodeKeys()
        self._folder, self._register, self._report = folder, register, report
        self._admitted: dict[str, _Edge] = {}
        self._seen: dict[str, _State] = {}  # by file, at the last scan
        self._done: dict[str, _State] = {}  # files that are admitted or set aside, until they change
        self._retry_at: dict[str, float] = {}  # by file whose key could not be registered

    def scan(self) -> None:
        """Look at the folder; call it regularly. A damaged file is reported at the second look."""
        seen = self._states()
        for name, state in sorted(seen.items()):
            if self._done.get(name) != state and time.monotonic() >= self._retry_at.get(name, 0.0):
                self._look_at(name, state, self._seen.get(name) == state)
        for name in sorted(self._admitted.keys() - {name.removesuffix(SUFFIX) for name in seen}):
            del self._admitted[name]
            self._report(f"Edge {name} shut out: its key is gone")
        self._seen, self._done = seen, {name: self._done[name] for name in self._done.keys() & seen}
        self.keys.replace(edge.key for edge in self._admitted.values())

    def _states(self) -> dict[str, _State]:
        """Return the files in the folder; an unreadable folder admits nobody new, but shuts nobody out."""
        try:
            found = [path for path in self._folder.iterdir() if path.name.endswith(SUFFIX)]
            states = {path.name: path.lstat() for path in found}
        except OSError:  # a file may also vanish in between
            return self._seen
        return {name: (state.st_size, state.st_mtime_ns) for name, state in states.items()}

    def _look_at(self, name: str, state: _State, is_whole: bool) -> None:
        try:
            if self._is_admitted(name):
                self._done[name] = state
        except FileNotFoundError:  # the next scan notices
            return
        except (OSError, ValueError) as err:
            if is_whole:  # otherwise it may be half copied
                self._done[name] = state
                reason = err.strerror if isinstance(err, OSError) and err.strerror else str(err)
                self._report(f"Set aside {short(name)} in {self._folder}: {reason}")

    def _is_admitted(self, name: str) -> bool:
        """Register a file's key, unless that is done; return whether it is registered now.

        Raises:
            OSError: The file cannot be read, or is not a regular one.
            ValueError: The name or the content is not an edge's.
        """
        edge = name.removesuffix(SUFFIX)
        if not is_edge_name(edge):
            raise ValueError("Its name is not a valid edge name; use letters, digits, '.', '_' and '-'")
        content = read_regular(self._folder / name, MAX_KEY_BYTES)
        known = self._admitted.get(edge)
        if known is not None and known.content == content:
            return True
        key = read_node_key(content)
        owner = next((other for other, row in self._admitted.items() if row.key == key), edge)
        if owner != edge:
            raise ValueError(f"It is the key of edge {owner}")
        if reason := self._register(edge, key):
            self._retry_at[name] = time.monotonic() + RETRY_S
            self._report(f"Cannot admit edge {edge}, trying again in {RETRY_S:g} s: {short(reason)}")
            return False
        self._admitted[edge] = _Edge(content, key)
        self._report(f"Edge {edge} admitted")
        return True
