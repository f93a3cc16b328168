"""Tokens, rate limit and concurrency limit."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc

from edge_triton.gateway.status_error import StatusError
from mvstylizer.errors import MVStylizerError, printable

_LOG = logging.getLogger(__name__)
MIN_TOKEN_CHARS = 16
_MAX_CLIENTS = 4096
_REREAD_S = 1.0


class TokenFileError(MVStylizerError):
    """The file of bearer tokens cannot be used."""


class Tokens:
    """The bearer tokens of a file: one ``NAME TOKEN`` per line, ``#`` starts a comment.

    The file is read again when it changes, so tokens can be added and revoked while the edge serves. A line
    that is not NAME TOKEN is logged and skipped; a file without tokens admits nobody. Only a file that is not
    text, or that cannot be read, leaves the tokens unchanged, which is logged at each check.

    Args:
        path: The file.

    Raises:
        TokenFileError: The file cannot be read or is malformed, or a token is too short.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._stamp = self._stamp_now()
        self._names, problems = self._read()
        if problems:
            raise problems[0]
        if not self._names:
            raise TokenFileError(f"Token file {path} contains no token", "Add a line: NAME TOKEN")
        self._last_check = time.monotonic()

    def name(self, header: str) -> str:
        """Return the name of the client that sent an ``authorization`` header.

        Raises:
            StatusError: The token is missing or unknown.
        """
        self._refresh()
        scheme, _, token = header.partition(" ")
        # Looked up by digest, so that timing reveals nothing about the tokens.
        name = self._names.get(_digest(token.strip())) if scheme.lower() == "bearer" else None
        if name is None:
            raise StatusError(grpc.StatusCode.UNAUTHENTICATED, "a valid token is needed")
        return name

    def _refresh(self) -> None:
        if time.monotonic() - self._last_check < _REREAD_S:
            return
        self._last_check = time.monotonic()
        try:
            stamp = self._stamp_now()
            if stamp == self._stamp:
                return
            self._names, problems = self._read()
        except TokenFileError as err:
            _LOG.warning("the last good tokens stay valid: %s", err)
            return
        self._stamp = stamp
        for problem in problems:
            _LOG.warning("skipped: %s", problem)
        if not self._names:
            _LOG.warning("token file %s contains no token: every request is rejected", self._path)

    def _stamp_now(self) -> tuple[int, int, int]:
        try:
            status = self._path.stat()
        except OSError as err:
            raise TokenFileError(
                f"Token file {self._path}: {err.strerror}", "Pass a readable file to --token-file"
            ) from err
        return status.st_mtime_ns, status.st_size, status.st_ino

    def _read(self) -> tuple[dict[bytes, str], list[TokenFileError]]:
        """Return names by token digest, and an error for each line that is not NAME TOKEN."""
        try:
            lines = self._path.read_text().splitlines()
        except (OSError, ValueError) as err:
            raise TokenFileError(
                f"Token file {self._path} cannot be read", "Pass a readable text file to --token-file"
            ) from err
        names, problems = {}, []
        for number, line in enumerate(lines, 1):
            words = line.partition("#")[0].split()
            if len(words) == 2 and len(words[1]) >= MIN_TOKEN_CHARS:
                names[_digest(words[1])] = words[0]
            elif words:
                problems.append(self._bad_line(number))
        return names, problems

    def _bad_line(self, number: int) -> TokenFileError:
        return TokenFileError(
            f"Token file {self._path}, line {number}: expected NAME TOKEN, with a token of at least"
            f" {MIN_TOKEN_CHARS} characters",
            "Generate a token with: openssl rand -hex 32",
        )


class RateLimit:
    """A token bucket per client.

    Args:
        rate: Sustained requests per second of one client.
        burst: Requests that one client may send at once after a pause.
        clock: Monotonic clock, in seconds.
    """

    def __init__(self, rate: float, burst: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._rate = rate
        self._burst = burst
        self._clock = clock
        self._levels: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, client: str) -> None:
        """Count one request.

        Raises:
            StatusError: The client exceeds its rate; the error says when to retry.
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
    """A limit on concurrent requests, in total and per client, so that memory is bounded too.

    Args:
        total: Concurrent requests in total.
        per_client: Concurrent requests of one client.
    """

    def __init__(self, total: int, per_client: int) -> None:
        self._total = total
        self._per_client = per_client
        self._in_use: Counter[str] = Counter()

    @property
    def in_use(self) -> int:
        """Number of running requests."""
        return self._in_use.total()

    @contextmanager
    def take(self, client: str) -> Iterator[None]:
        """Count a request as running within a `with` block.

        Raises:
            StatusError: The total or the client's limit is reached.
        """
        if self.in_use >= self._total or self._in_use[client] >= self._per_client:
            raise StatusError(grpc.StatusCode.RESOURCE_EXHAUSTED, "too many concurrent requests", 0.2)
        self._in_use[client] += 1
        try:
            yield
        finally:
            self._leave(client)

    def keep(self, client: str, task: asyncio.Task[Any]) -> None:
        """Count a request as running until a task, which may outlive its `with` block, has ended."""
        self._in_use[client] += 1

        def end(done: asyncio.Task[Any]) -> None:
            self._leave(client)
            if not done.cancelled():
                done.exception()  # retrieved, although nobody waits for it

        task.add_done_callback(end)

    def _leave(self, client: str) -> None:
        self._in_use[client] -= 1
        if not self._in_use[client]:
            del self._in_use[client]


def peer_host(peer: str) -> str:
    """Return the host of a gRPC peer, such as ``ipv4:192.0.2.7:4711``, without the port."""
    return peer.rpartition(":")[0]


def certificate_name(context: Any) -> str:
    """Return the name in the verified client certificate of a gRPC call, or an empty string without one."""
    identities = context.peer_identities() or ()
    return (
        "certificate " + printable(next(iter(identities)).decode(errors="replace"), 200) if identities else ""
    )


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()
