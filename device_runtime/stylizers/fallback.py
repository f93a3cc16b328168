"""Fallback to a stylizer on the device while the edge is unavailable."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from device_runtime.interpolation.grid import GridError, check_reply
from device_runtime.stylizers.style_mix import StyleMix
from edge_triton.client.client import EdgeUnavailableError
from mvstylizer.stylizer import Reply, StylizedFrame, Stylizer

PROBE_PAUSE_S: Final = 1.0

Fallback = Callable[[], Stylizer]


class GuardedReply(NamedTuple):
    """A stylized key frame, and whether the fallback made it."""

    key: StylizedFrame
    fell_back: bool


class GuardedStylizer:
    """A stylizer bound to one style, with a circuit breaker and a fallback.

    The edge client retries by itself: by the time it raises an error, its retries are exhausted. That opens
    the circuit: every frame goes to the fallback at once, while a background thread keeps requesting the
    style code from the edge, a small but real inference. Its first success closes the circuit, and frames go
    to the edge again with the new code, because the edge may have restarted with another model.

    A map that no stylizer gives (see `check_grid`) counts as no answer.

    An edge that does not answer at the start is an error: a mistyped address must not go unnoticed.

    Args:
        edge: Preferred stylizer. Used by one thread at a time, the caller's or the probing one.
        style: The style.
        fallback: Loads the fallback when first needed; None = an unavailable edge is an error.
        probe_pause_s: Seconds between two probes of the edge.

    Raises:
        MVStylizerError: The edge cannot be reached, or rejects the style.
    """

    def __init__(
        self,
        edge: Stylizer,
        style: StyleMix,
        fallback: Fallback | None = None,
        *,
        probe_pause_s: float = PROBE_PAUSE_S,
    ) -> None:
        self._edge = edge
        self._style = style
        self._fallback = fallback
        self._probe_pause_s = probe_pause_s
        self._edge_code: NDArray[np.float32] | None = style.encoded_by(edge)  # None = the circuit is open
        self._local: tuple[Stylizer, NDArray[np.float32]] | None = None
        self._closed = threading.Event()

    def stylize(self, frame: NDArray[np.uint8], reply: Reply) -> GuardedReply:
        """Stylize one frame at its own size; see `Stylizer.stylize`.

        Raises:
            EdgeUnavailableError: The edge is unavailable and there is no fallback.
            GridError: Its map is not one, and there is no fallback.
            MVStylizerError: The edge rejects the frame, or the fallback fails too.
        """
        code = self._edge_code
        if code is not None:
            try:
                answer = self._edge.stylize(frame, code, r=1.0, reply=reply)
                return GuardedReply(check_reply(answer), False)
            except (EdgeUnavailableError, GridError):
                if self._fallback is None:
                    raise
                self._edge_code = None
                # A daemon: a probe in progress must not delay the end of the program.
                threading.Thread(target=self._probe, name="edge-probe", daemon=True).start()
        local, code = self._loaded_fallback()
        return GuardedReply(check_reply(local.stylize(frame, code, r=1.0, reply=reply)), True)

    def close(self) -> None:
        """Stop probing and close the fallback; the caller closes the edge."""
        self._closed.set()
        if self._local is not None:
            self._local[0].close()

    def _loaded_fallback(self) -> tuple[Stylizer, NDArray[np.float32]]:
        if self._local is None:
            assert self._fallback is not None, "without a fallback the circuit never opens"
            stylizer = self._fallback()
            self._local = stylizer, self._style.encoded_by(stylizer)
        return self._local

    def _probe(self) -> None:
        while not self._closed.wait(self._probe_pause_s):
            try:
                self._edge_code = self._style.encoded_by(self._edge)
            except Exception:  # of any kind: the client may be closed by now
                continue
            return
