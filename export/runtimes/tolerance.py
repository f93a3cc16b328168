"""How far a written file may be from its reference; beyond it the export fails, and ``--check`` later."""

from __future__ import annotations

from typing import Final

GRAY: Final = 1.0  # gray levels of a stylized frame, both rounded
CODE: Final = 2e-3  # of a style code, relative to its largest entry
MAP: Final = 2e-2  # of an affine map's entries; weights travel in half precision
ROUNDED_GRAY: Final = 0.51  # a uint8 result beside the real-valued one: its rounding and little more
FLOAT_GRAY: Final = 0.05  # gray levels of a result that is not rounded
HALF_GRAY: Final = 1.5  # the same in float16 arithmetic
FEATURE: Final = 1e-5  # of the key frame's score and features
