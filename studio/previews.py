"""One frame at the three matches, before the run."""

from __future__ import annotations

import threading
from fractions import Fraction
from pathlib import Path
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from device_runtime.media.excerpt import Moment, Span
from device_runtime.preview.stills import one_still
from device_runtime.preview.variants import MATCHES, Variants, preview_pixels
from device_runtime.stylizers.style_mix import StyleMix
from mvstylizer.bundle import Bundle
from mvstylizer.stylizer import Stylizer
from studio.errors import StudioError
from studio.media_library import MediaFile

ORIGINAL: Final = "original"
JPEG_QUALITY: Final = 90

_Key = tuple[Path, int]


class Previews:
    """Makes pictures of one frame. Thread-safe: one at a time, and none while `stylizing` is held.

    The last frame and the last style are kept, so that the pictures of one frame cost one decoding.

    Args:
        stylizer: Stylizes the frame.
        bundle: Provides the kernel.

    Attributes:
        stylizing: Held while the stylizer is used; a job holds it too.
    """

    def __init__(self, stylizer: Stylizer, bundle: Bundle) -> None:
        self.stylizing = threading.Lock()
        self._stylizer = stylizer
        self._bundle = bundle
        self._still: tuple[tuple[_Key, float], NDArray[np.uint8]] | None = None
        self._variants: tuple[_Key, Variants] | None = None

    def jpeg(self, source: MediaFile, style: MediaFile, name: str, at_s: float) -> bytes:
        """Return one picture as JPEG, of about the size at which the network sees a frame.

        Args:
            source: The video or photo.
            style: The style photo.
            name: ``original``, ``look``, ``auto`` or ``palette``.
            at_s: Time of the frame in seconds; the last frame if the video ends before it.

        Raises:
            StudioError: `name` is none of these.
            MVStylizerError: A file cannot be read, or the stylizer fails.
        """
        if name != ORIGINAL and name not in MATCHES:
            raise StudioError(f"match {name!r} is not one of {', '.join([ORIGINAL, *MATCHES])}")
        with self.stylizing:
            picture = self._frame(source, at_s)
            if name != ORIGINAL:
                variants = self._styled_by(style)
                picture = variants.picture(picture, variants.grid(picture, MATCHES[name]))
        bgr = cv2.cvtColor(picture, cv2.COLOR_RGB2BGR)
        return cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])[1].tobytes()

    def close(self) -> None:
        """Release the kernel."""
        with self.stylizing:
            if self._variants is not None:
                self._variants[1].close()
            self._variants = None

    def _frame(self, source: MediaFile, at_s: float) -> NDArray[np.uint8]:
        if source.seconds and source.rate:
            at_s = max(0.0, min(at_s, source.seconds - 1 / source.rate))
        key = (_key(source), at_s)
        if self._still is None or self._still[0] != key:
            span = Span(Moment(Fraction(at_s).limit_denominator(1000)))
            self._still = key, one_still(source.path, preview_pixels(self._bundle), span).picture
        return self._still[1]

    def _styled_by(self, style: MediaFile) -> Variants:
        if self._variants is None or self._variants[0] != _key(style):
            mix = StyleMix.read(style.path)
            if self._variants is not None:
                self._variants[1].close()
            self._variants = _key(style), Variants(mix, self._stylizer, self._bundle)
        return self._variants[1]


def _key(file: MediaFile) -> _Key:
    """Identify a file's content: another upload may have the same name."""
    return file.path, file.path.stat().st_mtime_ns
