"""HDR pictures (HLG and PQ of BT.2100) as the SDR pictures that the network knows, and back.

A style is defined on SDR. So an HDR picture has an *SDR view*: display light, in BT.709 primaries, with 203
cd/m² (BT.2408) as white, and a tone curve that keeps everything below 80 % of white as it is. An HDR and an
SDR recording of one scene have the same view up to there. The view is invertible: colors outside BT.709 stay
as negative values, and what the tone curve took from a highlight is carried along as a gain.

Styled, a pixel becomes HDR again with the smaller of two gains: what the tone curve took from this pixel, and
what it would take from the styled one. So the view of the result is the styled view, a highlight stays one
unless the style darkens it, and a wall that the style paints white does not begin to shine.

The display gamma of HLG: BT.2100 applies it to luminance, zimg (FFmpeg's zscale) to each channel, and the two
differ by a mean ΔE2000 of 2 on saturated scenes. Half of each is near both, and its inverse is as simple.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from device_runtime.media.color import HDR_TRANSFERS, PQ, Color

Light = NDArray[np.float32]

WHITE: Final = 203.0  # cd/m²
PEAK: Final = 10_000 / WHITE
HLG_PEAK: Final = 1000 / WHITE
KNEE: Final = 0.8
SDR_GAMMA: Final = 2.4  # BT.1886
TO_BT709: Final = np.array(  # BT.2087
    [[1.660491, -0.587641, -0.072850], [-0.124550, 1.132900, -0.008349], [-0.018151, -0.100579, 1.118730]],
)
TO_BT2020: Final = np.linalg.inv(TO_BT709)
LUMINANCE: Final = np.array([[0.2627, 0.6780, 0.0593]])  # of BT.2020
BLACK: Final = np.float32(1e-7)  # avoids divisions by zero
NODES: Final = 4096  # of the curves' tables; the finest steps of PQ are a quarter of a 10-bit code

# SMPTE ST 2084
_M1, _M2, _C1, _C2, _C3 = 2610 / 16384, 2523 / 32, 3424 / 4096, 2413 / 128, 2392 / 128
# ARIB STD-B67
_A, _B, _C = 0.17883277, 0.28466892, 0.55991073
# The display gamma of 1.2: half of the excess on luminance, half on each channel.
_OWN, _ALL = 1.1, 0.1

# The tone curve: x up to the knee, then s·(x + p) / (x + q), as smooth, with 1 at the peak (Mobius).
_P: Final = -KNEE * KNEE * (PEAK - 1) / (KNEE * KNEE - 2 * KNEE + PEAK)
_Q: Final = (KNEE * KNEE - 2 * KNEE * PEAK + PEAK) / (PEAK - 1)
_S: Final = (KNEE + _Q) ** 2 / (_Q - _P)


@dataclass(frozen=True)
class View:
    """The SDR view of HDR colors.

    Attributes:
        rgb: R', G', B' of BT.709 with gamma 2.4, float32 (…, 3): at most 1, negative outside BT.709.
        gain: What the tone curve took, float32 (…, 1): light over its light in the view, at least 1.
    """

    rgb: Light
    gain: Light


@dataclass(frozen=True)
class Hdr:
    """The curves of one HDR transfer.

    Attributes:
        transfer: `PQ` or `HLG`.
    """

    transfer: int

    @classmethod
    def of(cls, color: Color) -> Hdr | None:
        """Return the curves of a video, or None if it is SDR."""
        return cls(color.transfer) if color.transfer in HDR_TRANSFERS else None

    def view(self, codes: Light) -> View:
        """Return the SDR view.

        Args:
            codes: R', G', B' of BT.2020 in the unit range, float32 (…, 3).
        """
        light = self._light(codes) @ TO_BT709.T.astype(np.float32)
        highest = np.maximum(light.max(-1, keepdims=True), BLACK)
        gain = highest / compressed(highest)
        return View(_power(light / gain, 1 / SDR_GAMMA), gain)

    def codes(self, styled: Light, view: View) -> Light:
        """Return HDR codes for the styled view of colors.

        Args:
            styled: R', G', B' of the styled view, float32 (…, 3).
            view: The view before.

        Returns:
            R', G', B' of BT.2020 in the unit range, float32 of the shape of `styled`.
        """
        light = _power(np.clip(styled, np.minimum(view.rgb, 0), 1), SDR_GAMMA)
        highest = np.maximum(light.max(-1, keepdims=True), BLACK)
        gain = np.minimum(expanded(highest) / highest, view.gain)
        return self.from_light(light * gain)

    def from_light(self, light: NDArray[np.floating[Any]]) -> Light:
        """Return the codes of light in BT.709, where 1 is SDR white, float32 (…, 3)."""
        return self._codes(light.astype(np.float32) @ TO_BT2020.T.astype(np.float32))

    @cached_property
    def gray(self) -> Light:
        """The view of gray by its code: float32 (4096,) for codes from 0 to 1."""
        nodes = np.linspace(0, 1, NODES, dtype=np.float32)
        return self.view(np.repeat(nodes[:, None], 3, 1)).rgb[:, 0]

    @cached_property
    def _table(self) -> Light:
        """Light of one channel by its code: for HLG before the part of the display gamma on luminance."""
        code = np.linspace(0, 1, NODES)
        if self.transfer == PQ:
            root = code ** (1 / _M2)
            return (PEAK * (np.maximum(root - _C1, 0) / (_C2 - _C3 * root)) ** (1 / _M1)).astype(np.float32)
        scene = np.where(code <= 0.5, code * code / 3, (np.exp((code - _C) / _A) + _B) / 12)
        return (HLG_PEAK * scene**_OWN).astype(np.float32)

    def _light(self, codes: Light) -> Light:
        """Return display light in BT.2020, where 1 is SDR white."""
        light: Light = self._table[(np.clip(codes, 0, 1) * (NODES - 1) + 0.5).astype(np.uint16)]
        if self.transfer == PQ:
            return light
        scene = (light / np.float32(HLG_PEAK)) ** np.float32(1 / _OWN) @ LUMINANCE.T.astype(np.float32)
        return np.asarray(light * np.maximum(scene, BLACK) ** np.float32(_ALL), np.float32)

    def _codes(self, light: Light) -> Light:
        """Return the codes of display light in BT.2020."""
        light = np.maximum(light, 0)
        if self.transfer == PQ:
            power = (light / np.float32(PEAK)) ** np.float32(_M1)
            return np.asarray(((_C1 + _C2 * power) / (1 + _C3 * power)) ** _M2, np.float32)
        own = (light / np.float32(HLG_PEAK)) ** np.float32(1 / _OWN)
        # Luminance of the scene: with E = (light / Y^0.1)^(1/1.1), Y = Σ w·E is solved for Y.
        mean = np.maximum(own @ LUMINANCE.T.astype(np.float32), BLACK)
        luminance = mean ** np.float32(_OWN / (_OWN + _ALL))
        scene = own * luminance ** np.float32(-_ALL / _OWN)
        log = _A * np.log(np.maximum(12 * scene - _B, BLACK)) + _C
        return np.asarray(np.where(scene <= 1 / 12, np.sqrt(3 * scene), log), np.float32)


def compressed(light: Light) -> Light:
    """Return the tone curve: light from 0 to `PEAK` becomes 0 to 1, unchanged up to `KNEE`."""
    curve = np.float32(_S) * (light + np.float32(_P)) / (light + np.float32(_Q))
    return np.minimum(np.where(light <= KNEE, light, curve), 1).astype(np.float32)


def expanded(light: Light) -> Light:
    """Return the inverse of the tone curve; 0 to 1 becomes 0 to `PEAK`."""
    above = (light * np.float32(_Q) - np.float32(_S * _P)) / np.maximum(np.float32(_S) - light, BLACK)
    return np.where(light <= KNEE, light, np.minimum(above, np.float32(PEAK))).astype(np.float32)


def _power(values: Light, exponent: float) -> Light:
    """Return sign(x)·|x|^exponent."""
    magnitude = cv2.pow(np.abs(values).reshape(-1, 3), exponent).reshape(values.shape)
    return np.asarray(np.copysign(magnitude, values), np.float32)
