"""Compare the lite stylizer's TFLite files with PyTorch, on all kinds of pictures and on every lane.

Besides a photo there are flat, dark, black and checkered thumbnails: their statistics have no spread or the
largest, where a formula divides by little.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from export.parity.reference import Reference
from export.parity.test_images import parity_picture, pictures
from export.runtimes.compiled_model import LANE as LITERT
from export.runtimes.compiled_model import run_compiled
from export.runtimes.cpu import CPU_LANES, run_on_cpu
from export.runtimes.difference import Case, Differences, Tolerance

SIZE: Final = (72, 128)  # of the pictures, whose thumbnails are compared


def check_style_encoder_tflite(content: bytes, reference: Reference) -> dict[str, Any]:
    """Compare ``style_encoder.tflite`` with the reference.

    Returns:
        The manifest's parity row (`Differences.summary`), relative to the largest entry of the code.

    Raises:
        ParityError: It differs by more than `Tolerance.CODE`.
        LaneError: A lane cannot run the file.
    """
    differences = Differences("style_encoder.tflite", Tolerance.CODE, 1.0)
    for kind, picture in pictures(*SIZE):
        thumb = reference.thumb(picture)
        expected = reference.global_code(thumb)
        scale = np.abs(expected).max()
        for lane in CPU_LANES:
            (found,) = run_on_cpu(content, {"thumb": thumb}, lane)
            differences.add(kind, lane, found / scale, expected / scale)
    photo = reference.thumb(parity_picture(*SIZE, seed=3))
    expected = reference.global_code(photo)
    (outputs,) = run_compiled(content, [Case("photo", {"thumb": photo}, expected)])
    scale = np.abs(expected).max()
    differences.add("photo", LITERT, outputs[0] / scale, expected / scale)
    return differences.summary()


def check_look_tflite(content: bytes, reference: Reference) -> dict[str, Any]:
    """Compare ``look.tflite`` with the reference; the row is in gray levels before rounding.

    Raises:
        ParityError: A color differs by more than `Tolerance.LUT`.
        LaneError: A lane cannot run the file.
    """
    differences = Differences("look.tflite", Tolerance.LUT, 255.0, " gray levels")
    photo = reference.global_code(reference.thumb(parity_picture(144, 192, seed=9)))
    codes = {kind: reference.global_code(reference.thumb(picture)) for kind, picture in pictures(*SIZE)}
    alone = np.concatenate([np.zeros_like(photo[:, :1]), photo[:, 1:]], axis=1)  # at match 0
    for style, code in {**codes, "another photo": photo, "another photo, look alone": alone}.items():
        for kind, picture in pictures(*SIZE):
            thumb = reference.thumb(picture)
            expected = reference.lut(thumb, code)
            for lane in CPU_LANES:
                (found,) = run_on_cpu(content, {"thumb": thumb, "style_code": code}, lane)
                differences.add(f"{kind} as {style}", lane, 255 * found, 255 * expected)
    thumb = reference.thumb(parity_picture(*SIZE, seed=3))
    expected = reference.lut(thumb, photo)
    (outputs,) = run_compiled(content, [Case("photo", {"thumb": thumb, "style_code": photo}, expected)])
    differences.add("photo as another photo", LITERT, 255 * outputs[0], 255 * expected)
    return differences.summary()
