"""Key frames in one style: from the edge, and from the device itself while the edge does not answer."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from device_runtime.stylizers.style_mix import StyleMix
from edge_triton.client.client import EdgeUnavailableError
from mvstylizer.stylizer import Reply, StylizedFrame, Stylizer

PROBE_PAUSE_S: Final = 1.0

Fallback = Callable[[], Stylizer]


class Answer(NamedTuple):
    """A stylized key frame, and whether the fall-back made it."""

    key: StylizedFrame
    fell_back: bool


class GuardedStylizer:
    """A stylizer bound to one style, with a circuit breaker and a stand-in.

    The edge's client has its own patience: when its error arrives, waiting was no use. From then on the
    circuit is open: every frame goes to the stand-in at once, and a thread beside asks the edge again and
    again for the style code, which is a small but real inference. With its first answer frames go to the edge
    again, with the code that it has just given, as it may have come back with another model.

    An edge that does not answer at the very beginning is an error: a mistyped address must not go unnoticed.

    Args:
        edge: Asked first. Used by one thread at a time, the caller's or the probing one.
        style: The style.
        fallback: Loads the stand-in when it is first needed; None = an edge that is away is an error.
        probe_pause_s: Seconds between two questions whether the edge is back.

    Raises:
        MVStylizerError: The edge cannot be reached, or refuses the style.
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
        self._stand_in: tuple[Stylizer, NDArray[np.float32]] | None = None
        self._closed = threading.Event()

    def stylize(self, frame: NDArray[np.uint8], reply: Reply) -> Answer:
        """Stylize one frame at its own size; see `Stylizer.stylize`.

        Raises:
            EdgeUnavailableError: The edge is away and there is no fall-back.
            MVStylizerError: The edge refuses the frame, or the fall-back fails too.
        """
        code = self._edge_code
        if code is not None:
            try:
                return Answer(self._edge.stylize(frame, code, r=1.0, reply=reply), False)
            except EdgeUnavailableError:
                if self._fallback is None:
                    raise
                self._edge_code = None
                # A daemon: a probe under way must not hold up the end of the program.
                threading.Thread(target=self._probe, name="edge-probe", daemon=True).start()
        stand_in, code = self._standing_in()
        return Answer(stand_in.stylize(frame, code, r=1.0, reply=reply), True)

    def close(self) -> None:
        """Stop asking for the edge and let go of the stand-in; the edge is the caller's."""
        self._closed.set()
        if self._stand_in is not None:
            self._stand_in[0].close()

    def _standing_in(self) -> tuple[Stylizer, NDArray[np.float32]]:
        if self._stand_in is None:
            assert self._fallback is not None, "without a fall-back the circuit never opens"
            stylizer = self._fallback()
            self._stand_in = stylizer, self._style.encoded_by(stylizer)
        return self._stand_in

    def _probe(self) -> None:
        while not self._closed.wait(self._probe_pause_s):
            try:
                self._edge_code = self._style.encoded_by(self._edge)
            except Exception:  # whatever ails it (its client may be closed by now), the stand-in goes on
                continue
            return
