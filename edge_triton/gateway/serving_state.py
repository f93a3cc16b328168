"""What the edge serves, and whether it works; shared by gateway, supervisor and rollout."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Collection, Mapping
from types import MappingProxyType

from edge_triton.gateway.triton_channel import TritonChannel
from edge_triton.metrics import Metrics
from mvstylizer.bundle import Bundle
from mvstylizer.release import ReleaseError

MAX_SUCCESS_AGE_S = 10.0
"""The edge is ready while an inference has succeeded within this time."""


class ServingState:
    """Loaded model versions, the channel to Triton, and readiness. Belongs to one event loop.

    Args:
        bundle: The version served first.
        clock: Monotonic clock, in seconds.

    Attributes:
        changing: Held while Triton restarts or loads models, when errors are expected.
        check_requested: Set when a request failed in a way that points to Triton; the supervisor clears it.
    """

    def __init__(self, bundle: Bundle, clock: Callable[[], float] = time.monotonic) -> None:
        self.changing = asyncio.Lock()
        self.check_requested = asyncio.Event()
        self._bundles = {bundle.version: bundle}
        self._version = bundle.version
        self._channel: TritonChannel | None = None
        self._clock = clock
        self._last_success = clock()
        self._is_draining = False

    @property
    def bundles(self) -> Mapping[int, Bundle]:
        """The versions that Triton has loaded, read-only."""
        return MappingProxyType(self._bundles)

    @property
    def version(self) -> int:
        """The version that answers requests without a version."""
        return self._version

    @property
    def served(self) -> Bundle:
        """The bundle of `version`."""
        return self._bundles[self._version]

    @property
    def channel(self) -> TritonChannel | None:
        """The channel to Triton, or None while Triton is down."""
        return self._channel

    @property
    def success_age_s(self) -> float:
        """Time since the last successful inference, in seconds."""
        return self._clock() - self._last_success

    @property
    def status(self) -> str:
        """``serving``, ``not ready`` or ``draining``."""
        return "draining" if self._is_draining else "serving" if self.is_ready() else "not ready"

    def is_ready(self) -> bool:
        """Return whether inferences work: Triton's own ready endpoint only says that its server answers."""
        is_fresh = self.success_age_s < MAX_SUCCESS_AGE_S
        return self._channel is not None and is_fresh and not self._is_draining

    def connect(self, channel: TritonChannel) -> None:
        """Use a channel to a Triton that has just answered its first inference."""
        self._channel = channel
        self.mark_success()

    def disconnect(self) -> TritonChannel | None:
        """Stop using the channel, and return it for closing."""
        channel, self._channel = self._channel, None
        return channel

    def mark_success(self) -> None:
        """Record that an inference has succeeded now."""
        self._last_success = self._clock()

    def drain(self) -> None:
        """Report not ready from now on; the edge is stopping."""
        self._is_draining = True

    def promote(self, bundle: Bundle) -> None:
        """Serve a version that Triton has just loaded; the version served until now stays loaded."""
        self._bundles = {self._version: self.served, bundle.version: bundle}
        self._version = bundle.version

    def roll_back(self, version: int) -> None:
        """Serve another loaded version.

        Raises:
            ReleaseError: It is not loaded.
        """
        if version not in self._bundles:
            raise ReleaseError(f"Version {version} is not loaded", "Publish its bundle again")
        self._version = version

    def retain(self, versions: Collection[int]) -> None:
        """Drop every version but these; if the served one is dropped, serve the highest that is left.

        Args:
            versions: At least one loaded version.
        """
        self._bundles = {version: self._bundles[version] for version in versions}
        if self._version not in self._bundles:
            self._version = max(self._bundles)

    def add_gauges(self, metrics: Metrics) -> None:
        """Export the state to Prometheus."""
        metrics.gauge("mvstylizer_up", "1 while the edge is ready, otherwise 0.", self.is_ready)
        metrics.gauge(
            "mvstylizer_last_success_age_seconds",
            "Time since the last successful inference.",
            lambda: self.success_age_s,
        )
        metrics.gauge(
            "mvstylizer_model_version",
            "Model version that answers requests without a version.",
            lambda: self._version,
        )
        metrics.gauge(
            "mvstylizer_shared_memory_bytes",
            "Shared memory between gateway and Triton.",
            lambda: 0 if self._channel is None else self._channel.shared_bytes,
        )
