"""Who may come in, how often, and how many at a time."""

from __future__ import annotations

import hashlib
import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import grpc

from edge_triton.gateway.status_error import StatusError
from mvstylizer.errors import MVStylizerError

MIN_TOKEN = 16
_MAX_CLIENTS = 4096
_REREAD_S = 1.0


class TokenFileError(MVStylizerError):
    """The file of bearer tokens cannot be used."""


class Tokens:
    """The bearer tokens of a file: one ``NAME TOKEN`` a line, ``#`` starts a comment.

    The file is read again when it changes, so a token can be added or withdrawn while the edge serves. A
    file that became unreadable or wrong leaves the tokens as they were.

    Args:
        path: The file.

    Raises:
        TokenFileError: It cannot be read, holds no token, or one that is too short.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._stamp = self._stamp_now()
        self._names = self._read()
        self._checked = time.monotonic()

    def name(self, header: str) -> str:
        """Return whose token an ``authorization`` header carries.

        Raises:
            StatusError: No token, or an unknown one.
        """
        self._refresh()
        scheme, _, token = header.partition(" ")
        # Looked up by its digest: how long that takes tells nothing about the tokens.
        name = self._names.get(_digest(token.strip())) if scheme.lower() == "bearer" else None
        if name is None:
            raise StatusError(grpc.StatusCode.UNAUTHENTICATED, "a valid token is needed")
        return name

    def _refresh(self) -> None:
        if time.monotonic() - self._checked < _REREAD_S:
            return
        self._checked = time.monotonic()
        try:
            stamp = self._stamp_now()
            if stamp != self._stamp:
                self._names, self._stamp = self._read(), stamp
        except TokenFileError:
            return

    def _stamp_now(self) -> tuple[int, int, int]:
        try:
            status = self._path.stat()
        except OSError as err:
            raise TokenFileError(f"Token file {self._path}: {err.strerror}", "Name a readable file") from err
        return status.st_mtime_ns, status.st_size, status.st_ino

    def _read(self) -> dict[bytes, str]:
        try:
            lines = self._path.read_text().splitlines()
        except (OSError, ValueError) as err:
            raise TokenFileError(
                f"Token file {self._path} cannot be read", "Name a readable text file"
            ) from err
        names = {}
        for number, line in enumerate(lines, 1):
            words = line.partition("#")[0].split()
            if not words:
                continue
            if len(words) != 2 or len(words[1]) < MIN_TOKEN:
                raise TokenFileError(
                    f"Token file {self._path}, line {number} is not: NAME TOKEN, the token of"
                    f" {MIN_TOKEN} characters or more",
                    "Make a token with: openssl rand -hex 32",
                )
            names[_digest(words[1])] = words[0]
        if not names:
            raise TokenFileError(f"Token file {self._path} holds no token", "Add a line: NAME TOKEN")
        return names


class RateLimit:
    """A token bucket for each client.

    Args:
        rate: Requests a second that a client may make in the long run.
        burst: Requests that it may make at once after a pause.
        clock: Seconds since any moment.
    """

    def __init__(self, rate: float, burst: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._rate = rate
        self._burst = burst
        self._clock = clock
        self._levels: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, client: str) -> None:
        """Count one request.

        Raises:
            StatusError: The client has come too often; says when it may come again.
        """
        now = self._clock()
        level, since = self._levels.pop(client, (float(self._burst), now))
        level = min(self._burst, level + (now - since) * self._rate)
        allowed = level >= 1
        self._levels[client] = (level - allowed, now)
        if len(self._levels) > _MAX_CLIENTS:
            self._levels.popitem(last=False)
        if not allowed:
            wait_s = (1 - level) / self._rate
            raise StatusError(
                grpc.StatusCode.RESOURCE_EXHAUSTED, "too many requests from this client", wait_s
            )


class ConcurrencyLimit:
    """A bounded number of requests inside, so that memory is bounded too; a share for each client.

    Args:
        total: Requests inside at a time.
        each: Requests of one client inside at a time.
    """

    def __init__(self, total: int, each: int) -> None:
        self._total = total
        self._each = each
        self._taken: Counter[str] = Counter()

    @property
    def taken(self) -> int:
        """Requests that are inside."""
        return self._taken.total()

    @contextmanager
    def take(self, client: str) -> Iterator[None]:
        """Hold a place.

        Raises:
            StatusError: All are taken, or the client's share is.
        """
        if self.taken >= self._total or self._taken[client] >= self._each:
            raise StatusError(grpc.StatusCode.RESOURCE_EXHAUSTED, "too many requests are waiting", 0.2)
        self._taken[client] += 1
        try:
            yield
        finally:
            self._taken[client] -= 1
            if not self._taken[client]:
                del self._taken[client]


def peer_host(peer: str) -> str:
    """Return the host of a gRPC peer, such as ``ipv4:192.0.2.7:4711``, without the port."""
    return peer.rpartition(":")[0]


def bearer(metadata: Sequence[tuple[str, str | bytes]]) -> str:
    """Return the ``authorization`` header among a call's metadata, or an empty string."""
    return next((str(value) for key, value in metadata if key == "authorization"), "")


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()
