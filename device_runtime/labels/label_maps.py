"""The maps of a shot's labels: one stylizer per label, and maps that ease from key frame to key frame."""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import ExitStack
from types import TracebackType
from typing import Self

import numpy as np
from numpy.typing import NDArray

from device_runtime.interpolation.grid import on_grid
from device_runtime.labels.fill import filled
from device_runtime.report import Stopwatch
from device_runtime.stylizers.fallback import Fallback
from device_runtime.stylizers.request_queue import KeyRequests
from device_runtime.stylizers.style_mix import StyleMix
from mvstylizer.stylizer import BilateralGrid, Match, Stylizer

MIN_PIXELS = 64  # a smaller remainder of a label keeps the map it has


class LabelMaps:
    """Maps of the regions of one shot; the last region takes the whole style.

    Use as a context manager.

    Args:
        style: uint8 RGB (H, W, 3).
        style_masks: bool (H, W) for each region but the last: where the style has it.
        match: How each label's style is followed.
        smoothing_s: Time constant with which a map follows that of the last key frame.
        stylizer: Stylizes the key frames.
        map_pixels: Pixel budget of its network.
        watch: Records the time of the requests.
        protect_skin: See `KeyRequests`.
        fallback: See `KeyRequests`.

    Attributes:
        maps: The current maps, one per region.

    Raises:
        MVStylizerError: The stylizer cannot be reached, or rejects the style.
    """

    def __init__(
        self,
        style: NDArray[np.uint8],
        style_masks: Sequence[NDArray[np.bool_]],
        *,
        match: Match,
        smoothing_s: float,
        stylizer: Stylizer,
        map_pixels: int,
        watch: Stopwatch,
        protect_skin: bool = False,
        fallback: Fallback | None = None,
    ) -> None:
        self.maps: list[BilateralGrid] = []
        self._targets: list[BilateralGrid] = []
        self._smoothing_s = smoothing_s
        photos = [*(filled(style, mask) for mask in style_masks), style]
        with ExitStack() as opened:
            self._requests = [
                opened.enter_context(
                    KeyRequests(
                        stylizer,
                        StyleMix.of(photo, match),
                        reply="map",
                        map_pixels=map_pixels,
                        watch=watch,
                        protect_skin=protect_skin,
                        fallback=fallback,
                    )
                )
                for photo in photos
            ]
            self._opened = opened.pop_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._opened.__exit__(kind, error, trace)

    @property
    def traffic(self) -> tuple[int, int]:
        """Bytes sent and received so far."""
        each = self._requests
        return sum(part.bytes_sent for part in each), sum(part.bytes_received for part in each)

    @property
    def fell_back(self) -> bool:
        """Whether the fallback stylized a label of any key frame."""
        return any(part.fell_back for part in self._requests)

    def key(self, picture: NDArray[np.uint8], regions: NDArray[np.uint8]) -> None:
        """Stylize a key frame, uint8 RGB (H, W, 3), one request per region in it."""
        found: list[BilateralGrid] = []
        for number, requests in enumerate(self._requests):
            inside = regions == number
            is_rest = number == len(self._requests) - 1
            if self._targets and not is_rest and np.count_nonzero(inside) < MIN_PIXELS:
                found.append(self._targets[number])
                continue
            content = picture if is_rest or not inside.any() else filled(picture, inside)
            # One request at a time: the stylizer serves one thread.
            grid = requests.submit(content).result().grid
            assert grid is not None, "checked by KeyRequests"
            found.append(grid)
        self._targets = found
        if not self.maps:
            self.maps = found

    def ease(self, seconds: float) -> None:
        """Let the maps follow the last key frame's for a time."""
        share = 1.0 if not self._smoothing_s else 1 - math.exp(-seconds / self._smoothing_s)
        self.maps = [
            np.asarray(now + np.float32(share) * (on_grid(target, *now.shape[:3]) - now), np.float32)
            for now, target in zip(self.maps, self._targets, strict=True)
        ]
